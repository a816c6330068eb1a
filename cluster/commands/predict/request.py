"""What `raysweep predict` shall predict, and how to print it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PredictRequest"]


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """The command's options as given; None, empty or False where an option was not given.

    Attributes:
        inputs: Texts, or paths of images and folders.
        file: A file with a text; `-` for standard input.
        lines: Whether each line of the file is a text.
        top: How many words or classes to name.
        user: Id of a user.
        item: Id of an item.
        weights: Where the backbone's weights are now.
        json: Whether to print JSON.
    """

    inputs: tuple[str, ...] = ()
    file: str | None = None
    lines: bool = False
    top: int | None = None
    user: str | None = None
    item: str | None = None
    weights: str | None = None
    json: bool = False
