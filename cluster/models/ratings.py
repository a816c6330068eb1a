"""Uses of a trained ratings model: predict, recommend, rank items, explain its factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raysweep.cluster.runs.saved_run import SavedRun
from raysweep.core.errors import UserError
from raysweep.data.ratings.ratings import Ratings

if TYPE_CHECKING:
    import pandas as pd

    from raysweep.trainables.ratings.learner import RatingsLearner
    from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization

__all__ = ["draw_factors", "factor_ends", "predict", "predict_pairs", "rank", "recommend"]


def predict(run: SavedRun, user: str, item: str) -> dict[str, Any]:
    """Predicts the rating that a user would give an item.

    Args:
        run: a run of a ratings model.
        user: raw id, as in the data.
        item: raw id, as in the data.

    Returns:
        user, item, title, predicted, and given: the user's own rating, or None.

    Raises:
        UserError: the data have no such id, or the run is of another kind or has no trained model.
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


def predict_pairs(run: SavedRun, inputs: Sequence[Any]) -> pd.DataFrame:
    """Predicts ratings of pairs of a user's and an item's id; a row for each, as of `predict`."""
    import pandas as pd

    if any(isinstance(pair, str) or len(pair) != 2 for pair in inputs):
        raise UserError("a ratings model is asked with pairs (user, item), such as ('196', '242')")
    return pd.DataFrame([predict(run, str(user), str(item)) for user, item in inputs])


def recommend(run: SavedRun, user: str, top: int) -> pd.DataFrame:
    """Recommends the items that a user has not rated and would rate highest.

    Args:
        run: a run of a ratings model.
        user: raw id, as in the data.
        top: how many items.

    Returns:
        A table of item, title and predicted, best first.

    Raises:
        UserError: as `predict`, or the user has rated every item.
    """
    import pandas as pd

    learner, ratings = _recommender(run)
    u = _index(ratings, "user", user)
    rated = ratings.interactions.item[ratings.interactions.user == u]
    unseen = np.setdiff1d(np.arange(ratings.num_items, dtype=np.int32), rated)
    if not len(unseen):
        raise UserError(f"user '{user}' has rated every item; name another user")
    predicted = _predict(learner, np.full(len(unseen), u), unseen)
    order = np.argsort(-predicted, kind="stable")[:top]
    columns = {"item": ratings.item_ids[unseen], "title": _titles(ratings)[unseen]}
    return pd.DataFrame({**columns, "predicted": predicted}).iloc[order].reset_index(drop=True)


def rank(
    run: SavedRun, top: int, most_rated: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ranks the most rated items by their bias; that of an item with few ratings says little.

    Args:
        run: a run of matrix_factorization with biases.
        top: how many items at either end.
        most_rated: how many of the most rated items to rank; 2,000 by default, or a quarter of the
            items where that is less.

    Returns:
        The items with the highest and those with the lowest bias.

    Raises:
        UserError: the run is of another kind, has no trained model or no biases.
    """
    from raysweep.analysis.vectors.factors import rank_by_bias

    learner, ratings = _factorization(run)
    bias = _weights(learner, "item_bias")[:, 0]
    most_rated = most_rated or max(2, min(2000, ratings.num_items // 4))
    return rank_by_bias(bias, _counts(ratings), _titles(ratings), most_rated=most_rated, top=top)


def factor_ends(run: SavedRun, top: int) -> pd.DataFrame:
    """Lists the items at both ends of the first three principal components of their factors.

    Args:
        run: a run of matrix_factorization.
        top: how many items at either end.

    Returns:
        A table of components and items.

    Raises:
        UserError: the run is of another kind or has no trained model.
    """
    from raysweep.analysis.vectors.factors import component_ends, principal_components

    learner, ratings = _factorization(run)
    components = principal_components(_weights(learner, "item"), _counts(ratings))
    return component_ends(components, _titles(ratings), top=top)


def draw_factors(run: SavedRun) -> str:
    """Draws the first and third principal component of the item factors, with titles.

    Returns:
        Address of the picture, in the run's folder.

    Raises:
        UserError: the run is of another kind or has no trained model.
    """
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
        raise UserError(
            f"{run.storage.uri} is a run of {learner.name}; name a run of a ratings model"
        )
    assert isinstance(run.dataset.info, Ratings)
    return learner, run.dataset.info


def _factorization(run: SavedRun) -> tuple[MatrixFactorization, Ratings]:
    from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization

    learner, ratings = _recommender(run)
    if not isinstance(learner, MatrixFactorization):
        raise UserError(
            f"{run.storage.uri} is a run of {learner.name}; name a run of matrix_factorization"
        )
    return learner, ratings


def _predict(learner: RatingsLearner[Any], user: np.ndarray, item: np.ndarray) -> np.ndarray:
    import torch

    learner.model.eval()
    with torch.inference_mode():
        pairs = (torch.from_numpy(a.astype(np.int32)) for a in (user, item))
        return learner.rate(*pairs).numpy()


def _weights(learner: RatingsLearner[Any], table: str) -> np.ndarray:
    weights = learner.model.state_dict().get(f"{table}.weight")
    if weights is None:
        raise UserError(
            "the best configuration has biases=false, so that there are none to rank by; train "
            "with --set biases=true"
        )
    return weights.numpy()


def _counts(ratings: Ratings) -> np.ndarray:
    return np.bincount(ratings.interactions.item, minlength=ratings.num_items)


def _titles(ratings: Ratings) -> np.ndarray:
    return ratings.item_ids if ratings.titles is None else ratings.titles


def _index(ratings: Ratings, role: str, raw: str) -> int:
    ids = ratings.user_ids if role == "user" else ratings.item_ids
    indices = np.flatnonzero(ids == str(raw))
    if not len(indices):
        raise UserError(
            f"{ratings.name} has no {role} '{raw}'; it has {len(ids):,}, from "
            f"'{ids[0]}' to '{ids[-1]}'"
        )
    return int(indices[0])
