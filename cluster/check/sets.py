"""Checks of the data: nobody writes to them, the test set is sealed, the sets share nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from raysweep.cluster.check.outcome import FAILED, NOT_APPLICABLE, PASSED, Outcome
from raysweep.cluster.check.subject import Subject

__all__ = ["apart", "sealed", "shared_rows", "untouched"]

_PARTS = ("train", "val", "test")
_CHUNK_BYTES = 64 << 20


def sealed(subject: Subject) -> Outcome:
    """Trials are given no test data."""
    inside = sorted(name for name in subject.dataset.arrays if name.startswith("test"))
    outside = sorted(name for name in subject.dataset.test if not name.startswith("test_"))
    if inside:
        problem = f"Dataset.arrays has {inside[0]}"
        return Outcome(FAILED, problem, "give what is named test_… to Dataset.test alone")
    if outside:
        problem = f"Dataset.test has {outside[0]}"
        return Outcome(FAILED, problem, "name every array of Dataset.test test_…")
    if not subject.dataset.test:
        fix = "give Dataset.test arrays named test_…, or `raysweep confirm` has nothing to measure"
        return Outcome(FAILED, "Dataset.test is empty", fix)
    return Outcome(PASSED, f"trials get {', '.join(sorted(subject.dataset.arrays))}")


def apart(subject: Subject) -> Outcome:
    """No example of one set is in another one as well, unless the data say that they may be."""
    dataset = subject.dataset
    shared = shared_rows({**dataset.arrays, **dataset.test})
    if subject.read:
        return Outcome(NOT_APPLICABLE, "would take reading all examples")
    if shared is None:
        return Outcome(NOT_APPLICABLE, "the sets are not tables with a row for each example")
    told = [f"{num:,} of {what}" for what, num in shared.items() if num]
    detail = "; ".join(told) or "no example is in two sets"
    if told and not dataset.duplicates:
        fix = (
            "split so that equal examples are in one set; or, if they are different examples that "
            "look alike, say so: Dataset(…, duplicates=True) or raysweep.split(…, duplicates=True)"
        )
        return Outcome(FAILED, detail, fix)
    return Outcome(PASSED, f"{detail}, as the data declare" if told else detail)


def untouched(subject: Subject) -> Outcome:
    """An epoch changes none of the arrays, which all trials of a machine share.

    What is read as it is needed is the same when it is read again.
    """
    if subject.read_some() != subject.read:
        fix = (
            "an example is the same whenever it is read, and a stream whenever the same epoch is: "
            "draw random numbers from torch, numpy.random or random, which are seeded for each "
            "example, or from a generator that __getitem__ or __iter__ seeds; and change no array "
            "in place"
        )
        return Outcome(FAILED, "examples that are read again are others", fix)
    problem = "an epoch changed the data" if subject.digest() != subject.loaded else ""
    fix = (
        "work on a copy: all trials on a machine read the same memory, so use x = x / 2, not x /= 2"
    )
    return Outcome.of(problem, "an epoch leaves them as they were", fix)


def shared_rows(arrays: Mapping[str, Any]) -> dict[str, int] | None:
    """How many rows of a set are in another one as well; all their columns have to be equal.

    Args:
        arrays: named `train_…`, `val_…` and `test_…`; those of a name in all sets are columns.

    Returns:
        for each pair, in words, the number of rows; None where the sets have no rows.
    """
    columns = _columns(arrays)
    if not columns or (len(columns) == 1 and arrays[f"train_{columns[0]}"].ndim == 1):
        return None  # one long sequence of symbols, say
    hashes = {
        part: sum((_hashes(arrays[f"{part}_{n}"], k) for k, n in enumerate(columns)), np.uint64(0))
        for part in _PARTS
    }
    names = {"train": "training", "val": "validation", "test": "test"}
    pairs = (("val", "train"), ("test", "train"), ("test", "val"))
    return {
        f"{len(hashes[one]):,} {names[one]} examples are {names[other]} examples, too": int(
            np.isin(hashes[one], hashes[other]).sum()
        )
        for one, other in pairs
    }


def _columns(arrays: Mapping[str, Any]) -> list[str]:
    """The names of what all sets have for each example."""
    names = [name[6:] for name in arrays if name.startswith("train_")]
    found = []
    for name in names:
        each = [arrays.get(f"{part}_{name}") for part in _PARTS]
        if all(isinstance(a, np.ndarray) and a.ndim and a.dtype != object for a in each) and (
            len({(a.shape[1:], a.dtype) for a in each}) == 1  # type: ignore[union-attr]
        ):
            found.append(name)
    if not found:
        return []
    # Beside one row for each example there may be tables of other lengths.
    length = Counter(len(arrays[f"train_{name}"]) for name in found).most_common(1)[0][0]
    lengths = {
        p: {len(arrays[f"{p}_{n}"]) for n in found if _is(arrays, n, length)} for p in _PARTS
    }
    return [n for n in found if _is(arrays, n, length)] if _one_each(lengths) else []


def _is(arrays: Mapping[str, Any], name: str, length: int) -> bool:
    return len(arrays[f"train_{name}"]) == length


def _one_each(lengths: Mapping[str, set[int]]) -> bool:
    return all(len(each) == 1 for each in lengths.values())


def _hashes(rows: np.ndarray, column: int) -> np.ndarray:
    """A hash of each row of a column: equal for equal bytes, different but for 1 in 2**64.

    Args:
        rows: [n, ...].
        column: its number, so that equal values of two columns count as different ones.

    Returns:
        uint64 [n].
    """
    num_bytes = rows[:1].nbytes
    words = -(-num_bytes // 8)
    salts = np.random.default_rng(column).integers(0, 1 << 63, words, np.uint64) | np.uint64(1)
    result = np.zeros(len(rows), np.uint64)
    step = max(1, _CHUNK_BYTES // (8 * words))
    for start in range(0, len(rows), step):
        chunk = np.ascontiguousarray(rows[start : start + step])
        padded = np.zeros((len(chunk), 8 * words), np.uint8)
        padded[:, :num_bytes] = chunk.reshape(len(chunk), -1).view(np.uint8)
        result[start : start + step] = _mixed(padded.view(np.uint64) + salts).sum(1)
    return _mixed(result + salts[0])


def _mixed(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014): each bit depends on all bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
