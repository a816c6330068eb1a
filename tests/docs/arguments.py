"""What the tests make of a printed command: small budgets, and which runs RUN and OTHER may be."""

from __future__ import annotations

import re

__all__ = ["NEW", "PLACEHOLDERS", "PREPARED", "RUNS", "is_concrete", "shrunk", "tasks_of"]

PLACEHOLDERS = {
    "WORD": "film",
    "A": "man",
    "B": "king",
    "C": "woman",
    "NAME": "ml-100k",
    "PHOTOS": "photos",
    "FEATURES": "features",
    "UNLABELLED": "unlabelled",
    "PAIRS": "pairs.txt",
    "FILE": "review.txt",
}
NEW = ("OUT", "EXTRA")
# Runs that a page may name without having made them, and what makes them.
RUNS = {
    "films": "tune matrix_factorization l2 --name films",
    "network": "tune ratings_net l2 --name network",
    "dropout": "tune sentiment dropout_placement --name dropout",
    "writer": "train char_rnn --name writer",
    "nietzsche": "tune char_rnn rnn_size --name nietzsche",
    "reviews": "train word_vectors --name reviews",
    "heads": "tune image_head l2 --dataset features --name heads",
}
_RATINGS = ("matrix_factorization", "ratings_net")
# Which runs a command is for; any run for a command that is not here.
_FAMILIES = {
    "recommend": _RATINGS,
    "rank": ("matrix_factorization",),
    "factors": ("matrix_factorization",),
    "neighbours": ("matrix_factorization",),
    "plot": ("matrix_factorization",),
    "generate": ("char_rnn",),
    "ensemble": ("image_head",),
    "export": ("image_head",),
    "pseudo-label": ("image_head",),
}
PREPARED = {"sentiment": "dropout", "char_rnn": "writer", "image_head": "heads"}
_BUDGETS = {
    "tune": {"--num-samples": "2", "--epochs": "1", "--max-concurrent": "1"},
    "train": {"--epochs": "1", "--workers": "2"},
    "confirm": {"--num-seeds": "2"},
    "pseudo-label": {"--confidence": "0.5"},  # after one epoch no head is sure
}
_IMAGE = re.compile(r"\.(jpe?g|png)$|^(holidays|photos)\b")


def is_concrete(command: str) -> bool:
    """Whether a command says all that it takes to run it."""
    capitals = set(re.findall(r"(?<!\S)[A-Z][A-Z_]*(?!\S)|[A-Z_]+=[A-Z]+", command))
    return "…" not in command and capitals <= {*PLACEHOLDERS, *NEW, "RUN", "OTHER"}


def tasks_of(words: list[str]) -> tuple[str, ...]:
    """The trainables that a command is for; empty for any."""
    if words[0] != "predict":
        return _FAMILIES.get(words[0], ())
    if "--user" in words:
        return _RATINGS
    inputs = words[2:]
    return ("image_head",) if inputs and _IMAGE.search(inputs[0]) else ("sentiment",)


def shrunk(words: list[str]) -> list[str]:
    """A command's arguments with a small budget; two processes are as many as there are cores."""
    options = dict(_BUDGETS.get(words[0], {}))
    words = [re.sub(r"^epochs=\d+$", "epochs=1", word) for word in words]
    if "epochs=1" in words:
        options.pop("--epochs", None)
    for option, value in options.items():
        if option == "--workers" and option not in words:
            continue
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words = [*words, option, value]
    return words
