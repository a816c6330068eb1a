"""`raysweep list`: names by themselves, or all about one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raysweep.cluster.printing.lists import print_everything
from raysweep.search_spaces import SPACES
from raysweep.trainables import LEARNERS, get_learner

RunCommand = Callable[..., tuple[int, str, str]]
_NET = '''
from dataclasses import dataclass

import raysweep


class ListedNet(raysweep.TensorLearner):
    """Listed."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(raysweep.TrainingConfig):
        dense_l2: float = raysweep.option(0.0, "a penalty", low=0.0)

    @classmethod
    def load_data(cls, config):
        raise AssertionError("data are not needed for a list")

    def build_model(self):
        raise AssertionError("nor is the model")


def listed_function(config):
    """Reports something."""
'''


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "listed_net.py").write_text(_NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return "listed_net.py"


def test_names_have_the_summaries_of_their_classes(capsys: pytest.CaptureFixture[str]) -> None:
    """They are read from the source, so that PyTorch need not be imported."""
    print_everything()
    output, errors = capsys.readouterr()
    assert errors == ""
    lines = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    for name in LEARNERS:
        assert get_learner(name).summary in lines[name]
    for name, space in SPACES.items():
        assert space.question in lines[name]
    assert "ml-100k" in lines


def test_a_trainable_shows_its_fields_and_the_spaces_that_cover_it(
    run_command: RunCommand, net: str
) -> None:
    code, output, _ = run_command("list", f"{net}:ListedNet")
    assert code == 0
    assert "Listed; chosen by val_accuracy" in output
    assert "--set dense_l2=0  a penalty" in output
    assert "spaces: l2, optimizer\n" in output
    _, output, _ = run_command("list", "ratings_net")
    assert "spaces: dropout_placement, embedding_size, l2, optimizer\n" in output
    assert "--set optimizer=adam  update rule (adam, sgd, adagrad)" in output


def test_what_ray_tune_runs_has_neither_fields_nor_spaces(
    run_command: RunCommand, net: str
) -> None:
    code, output, _ = run_command("list", f"{net}:listed_function")
    assert code == 0
    assert "Reports something; chosen by the metric that --metric names" in output
    assert "spaces: none" in output


def test_a_space_shows_what_it_needs_and_whom_it_covers(run_command: RunCommand) -> None:
    code, output, _ = run_command("list", "l2", "rnn_size")
    assert code == 0
    assert "(for *_l2 or l2)" in output
    assert "covers image_head, matrix_factorization, ratings_net, sentiment\n" in output
    assert "covers char_rnn\n" in output
    code, _, errors = run_command("list", "sentimant")
    assert code == 2
    assert "did you mean 'sentiment'" in errors
