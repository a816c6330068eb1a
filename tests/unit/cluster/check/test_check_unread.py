"""`raysweep check` on models whose examples are read as they are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.cluster.check.processes import Workers

from .broken import GOOD
from .test_check import checked, failed

pytestmark = pytest.mark.timeout(240)
_INDEXED = """
from torch.utils.data import Dataset


class Noisy(Dataset):
    def __len__(self):
        return 200

    def __getitem__(self, number):
        inputs, labels = points()
        return inputs[number] + 0.1 * np.random.rand(), labels[number]


class Broken(Net):
    @classmethod
    def load_data(cls, config):
        return raysweep.split(Noisy(), in_memory=False)
"""
_STREAMED = """
from torch.utils.data import IterableDataset


class Points(IterableDataset):
    def __init__(self, seed, num):
        self.seed, self.num, self.epoch = seed, num, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        rng = np.random.default_rng([self.seed, self.epoch])
        for _ in range(self.num):
            inputs = rng.normal(size=4)
            yield inputs, int(inputs[0] > 0)


class Broken(Net):
    @classmethod
    def load_data(cls, config):
        return raysweep.from_torch(Points(0, 200), Points(1, 50), Points(2, 50), num_train=200)
"""
# What breaks a promise instead of the text before it, and on which line that shows.
_BROKEN = {
    "a stream without a seed": (_STREAMED, "default_rng([self.seed, self.epoch])", "default_rng()"),
    "a generator that goes on": (
        _INDEXED.replace("np.random.rand()", "RNG.random()"),
        "\n\nclass Noisy",
        "\n\nRNG = np.random.default_rng(0)\n\n\nclass Noisy",
    ),
}


@pytest.mark.parametrize("text", [_INDEXED, _STREAMED], ids=["indexed", "streamed"])
def test_a_good_model_keeps_every_promise(project: Path, workers: Workers, text: str) -> None:
    (project / "own_net.py").write_text(GOOD + text)
    table = checked(workers, "own_net.py:Broken")
    assert set(table.index[table["result"] != "passed"]) == {"packs", "sets apart"}, table
    assert not failed(table)


@pytest.mark.parametrize("name", _BROKEN)
def test_examples_that_change_are_told_of(project: Path, workers: Workers, name: str) -> None:
    text, good, bad = _BROKEN[name]
    assert good in text
    (project / "own_net.py").write_text(GOOD + text.replace(good, bad))
    table = checked(workers, "own_net.py:Broken")
    assert failed(table) == ["data untouched"], table
    line = table.loc["data untouched"]
    assert "read again are others" in line["detail"]
    assert "seeded for each example" in line["fix"]
