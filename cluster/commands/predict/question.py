"""What `raysweep predict` was asked."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Question"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """The command's options, as given; those that belong to other families are None or empty.

    Attributes:
        inputs: Texts, or paths of images and folders.
        file: With texts; `-` for standard input.
        lines: Whether each line of the file is a text.
        top: How many words or classes to name.
        user: The user's id.
        item: The item's id.
        weights: Where the backbone's weights are now.
        json: Whether a machine reads the answer.
    """

    inputs: tuple[str, ...] = ()
    file: str | None = None
    lines: bool = False
    top: int | None = None
    user: str | None = None
    item: str | None = None
    weights: str | None = None
    json: bool = False
