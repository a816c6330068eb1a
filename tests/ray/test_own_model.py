"""A model in a file of the user's: searched, resumed, confirmed; changed code is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import raysweep
from raysweep.core.errors import UserError

pytestmark = [pytest.mark.usefixtures("ray"), pytest.mark.timeout(240)]
_NET = '''
from dataclasses import dataclass

import raysweep
from own_points import points
from torch import nn


class Net(raysweep.TensorLearner):
    """Dense layers on six numbers."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        width: int = raysweep.option(16, "units", low=1, high=256)

    @classmethod
    def load_data(cls, config):
        return raysweep.split(*points(), seed=0)

    def build_model(self):
        width = self.config.width
        return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))
'''
_POINTS = """
import numpy as np


def points():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    return rng.normal(size=(300, 6)) + 3 * rng.normal(size=(3, 6))[labels], labels
"""


@pytest.fixture
def project(write_modules: Callable[..., Path]) -> Path:
    return write_modules(own_net=_NET, own_points=_POINTS)


def test_a_search_of_ones_own_model(project: Path) -> None:
    def search() -> raysweep.Run:
        return raysweep.tune(
            "own_net.py:Net",
            search=["width=4..64:log", "learning_rate=1e-3..1e-1:log"],
            num_samples=4,
            epochs=3,
            scheduler="none",
            name="own",
        )

    run = search()
    assert run.complete
    assert set(run.trials["status"]) == {"finished"}
    assert run.best["val_accuracy"] > 0.8
    assert run.trials["config.width"].between(4, 64).all()
    test = run.confirm(num_seeds=2)
    values = test[test["metric"] == "test_accuracy"]["value"]
    assert len(values) == 4 or len(values) == 2, "the best and the default, or the default alone"
    assert np.isfinite(values).all()
    assert search().trials.equals(run.trials), "the same call repeats nothing"
    (project / "own_points.py").write_text(_POINTS + "\n# changed\n")
    with pytest.raises(UserError, match=r"the code of own_net\.py:Net changed; --changed-code"):
        search()
