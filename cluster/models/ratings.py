"""Questions to a trained recommender: predict, recommend, rank, factors. Answers speak of films."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.cluster.runs.saved_run import SavedRun
from raysweep.core.errors import UserError
from raysweep.data.ratings.ratings import Ratings

if TYPE_CHECKING:
    import pandas as pd

    from raysweep.trainables.ratings.learner import RatingsLearner
    from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization

__all__ = ["draw_factors", "factor_ends", "predict", "rank", "recommend"]


def predict(run: SavedRun, user: str, item: str) -> dict[str, Any]:
    """The rating that a user would give an item, by raw ids, and the one given, if there is one.

    Raises:
        UserError: an id that the data do not have, or a run of another kind.
    """
    learner, ratings = _recommender(run)
    u, i = _index(ratings, "user", user), _index(ratings, "item", item)
    rated = ratings.interactions
    given = rated.rating[(rated.user == u) & (rated.item == i)]
    return {
        "user": user,
        "item": item,
        "title": _titles(ratings)[i],
        "predicted": float(_predict(learner, np.array([u]), np.array([i]))[0]),
        "given": float(given[0]) if len(given) else None,
    }


def recommend(run: SavedRun, user: str, top: int) -> pd.DataFrame:
    """The items that a user has not rated and would rate highest: item, title, predicted."""
    import pandas as pd

    learner, ratings = _recommender(run)
    u = _index(ratings, "user", user)
    rated = ratings.interactions.item[ratings.interactions.user == u]
    unseen = np.setdiff1d(np.arange(ratings.num_items, dtype=np.int32), rated)
    if not len(unseen):
        raise UserError(f"user '{user}' has rated every item: there is nothing to recommend")
    predicted = _predict(learner, np.full(len(unseen), u), unseen)
    order = np.argsort(-predicted, kind="stable")[:top]
    columns = {"item": ratings.item_ids[unseen], "title": _titles(ratings)[unseen]}
    return pd.DataFrame({**columns, "predicted": predicted}).iloc[order].reset_index(drop=True)


def rank(
    run: SavedRun, top: int, most_rated: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Top and bottom items by bias among the most rated: (best, worst).

    The most rated are 2,000, or a quarter of the items where that is less: the bias of an item that
    few have rated says little.
    """
    from raysweep.analysis.vectors.factors import rank_by_bias

    learner, ratings = _factorization(run)
    bias = _weights(learner, "item_bias")[:, 0]
    most_rated = most_rated or max(2, min(2000, ratings.num_items // 4))
    return rank_by_bias(bias, _counts(ratings), _titles(ratings), most_rated=most_rated, top=top)


def factor_ends(run: SavedRun, top: int) -> pd.DataFrame:
    """Both ends of the first three principal components of the item factors."""
    from raysweep.analysis.vectors.factors import component_ends, principal_components

    learner, ratings = _factorization(run)
    components = principal_components(_weights(learner, "item"), _counts(ratings))
    return component_ends(components, _titles(ratings), top=top)


def draw_factors(run: SavedRun) -> str:
    """Draws the item factors' first and third component, with titles, into the run; its address."""
    from raysweep.analysis.vectors.factors import principal_components, scatter

    learner, ratings = _factorization(run)
    components = principal_components(_weights(learner, "item"), _counts(ratings))
    pictures, name = run.storage / "pictures", "factors.png"
    with pictures.as_folder() as folder:
        scatter(folder / name, components, _titles(ratings))
    return (pictures / name).uri


def _recommender(run: SavedRun) -> tuple[RatingsLearner[Any], Ratings]:
    from raysweep.trainables.ratings.learner import RatingsLearner

    learner = run.best_model()
    if not isinstance(learner, RatingsLearner):
        raise UserError(f"{run.storage.uri} is a run of {learner.name}, which rates nothing")
    assert isinstance(run.dataset.info, Ratings)
    return learner, run.dataset.info


def _factorization(run: SavedRun) -> tuple[MatrixFactorization, Ratings]:
    from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization

    learner, ratings = _recommender(run)
    if not isinstance(learner, MatrixFactorization):
        raise UserError(
            f"{run.storage.uri} is a run of {learner.name}; "
            "this question is for a run of matrix_factorization"
        )
    return learner, ratings


def _predict(learner: RatingsLearner[Any], user: np.ndarray, item: np.ndarray) -> np.ndarray:
    import torch

    learner.model.eval()
    with torch.inference_mode():
        pairs = (torch.from_numpy(a.astype(np.int32)) for a in (user, item))
        return learner.predict(*pairs).numpy()


def _weights(learner: RatingsLearner[Any], table: str) -> np.ndarray:
    weights = learner.model.state_dict().get(f"{table}.weight")
    if weights is None:
        raise UserError("the best configuration has biases=false: there are none to rank by")
    return weights.numpy()


def _counts(ratings: Ratings) -> np.ndarray:
    return np.bincount(ratings.interactions.item, minlength=ratings.num_items)


def _titles(ratings: Ratings) -> np.ndarray:
    return ratings.item_ids if ratings.titles is None else ratings.titles


def _index(ratings: Ratings, role: str, raw: str) -> int:
    ids = ratings.user_ids if role == "user" else ratings.item_ids
    found = np.flatnonzero(ids == str(raw))
    if not len(found):
        raise UserError(
            f"{ratings.name} has no {role} '{raw}'; it has {len(ids):,}, from "
            f"'{ids[0]}' to '{ids[-1]}'"
        )
    return int(found[0])
