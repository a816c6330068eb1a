"""What is known about items and users, as columns of text: titles, genres, how they were rated."""

from __future__ import annotations

from collections import Counter

import numpy as np

from raysweep.data.ratings.ratings import Features, Ratings

__all__ = ["item_columns", "user_columns"]


def item_columns(ratings: Ratings, rated: np.ndarray, mean: np.ndarray) -> dict[str, list[str]]:
    """Title, id, genres, number and mean of the ratings of each item.

    Args:
        ratings: the data.
        rated: how often each item was rated in training, int [num_items].
        mean: of those ratings, float [num_items].
    """
    ids = ratings.item_ids.tolist()
    named = {"title": _distinct(ratings.titles.tolist(), ids)} if ratings.titles is not None else {}
    return {**named, "item": ids, **_known(ratings.item_features), **_rated(rated, mean)}


def user_columns(ratings: Ratings, rated: np.ndarray, mean: np.ndarray) -> dict[str, list[str]]:
    """Id, gender and occupation where known, number and mean of the ratings of each user."""
    ids = ratings.user_ids.tolist()
    return {"user": ids, **_known(ratings.user_features), **_rated(rated, mean)}


def _distinct(titles: list[str], ids: list[str]) -> list[str]:
    """Adds the id to titles that several items have: MovieLens 100k lists 18 films twice."""
    times = Counter(titles)
    return [
        title if times[title] == 1 else f"{title} [{raw}]"
        for title, raw in zip(titles, ids, strict=True)
    ]


def _known(features: Features | None) -> dict[str, list[str]]:
    """The features that are names, such as `genre=Drama`: by kind, all that hold for each row."""
    columns: dict[str, list[list[str]]] = {}
    for number, feature in enumerate(features.names if features else ()):
        assert features is not None
        kind, equals, name = feature.partition("=")
        if equals:
            column = columns.setdefault(kind, [[] for _ in features.values])
            for row in np.flatnonzero(features.values[:, number]):
                column[row].append(name)
    return {kind: [", ".join(names) for names in column] for kind, column in columns.items()}


def _rated(rated: np.ndarray, mean: np.ndarray) -> dict[str, list[str]]:
    return {"ratings": [str(n) for n in rated], "mean rating": [f"{m:.2f}" for m in mean]}
