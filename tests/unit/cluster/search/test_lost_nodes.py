"""The loss of a node is not counted as a trial's failure; the death of its process is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import raysweep.cluster  # noqa: F401  (sets what Ray reads when it is imported)


def _died(why: str) -> Exception:
    from ray.exceptions import ActorDiedError

    error = ActorDiedError()
    error.error_msg = why
    return error


def _unavailable() -> Exception:
    from ray.exceptions import ActorUnavailableError

    return ActorUnavailableError("Socket closed", b"\0" * 16)


def _trial(folder: Path, error: Exception, num_failures: int) -> Any:
    """What Ray Tune knows of a trial whose process died."""
    from ray import cloudpickle

    folder.mkdir(exist_ok=True)
    (folder / "error.pkl").write_bytes(cloudpickle.dumps(error))
    (folder / "error.log").write_text(f"Failure # {num_failures}\n{error}\n")
    return SimpleNamespace(
        run_metadata=SimpleNamespace(num_failures=num_failures),
        pickled_error_file=str(folder / "error.pkl"),
        error_file=str(folder / "error.log"),
    )


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (_died("The actor died because its node has died. Node Id: 4006c7"), 0),
        (_unavailable(), 0),
        (_died("Worker unexpectedly exits with a connection error code 2."), 1),
        (RuntimeError("node"), 1),
    ],
)
def test_what_counts(error: Exception, counted: int, tmp_path: Path) -> None:
    from raysweep.cluster.search.tune_callback import TuneCallback

    trial = _trial(tmp_path, error, num_failures=1)
    callback = TuneCallback(None, None, None)  # type: ignore[arg-type]
    callback.on_trial_recover(0, [], trial)
    assert trial.run_metadata.num_failures == counted


def test_a_trial_given_up_at_its_first_death_is_suggested_again(tmp_path: Path) -> None:
    """Ray does so when the process dies while it is handed over; the fourth death counts."""
    from raysweep.cluster.runs.ledger import FAILED, RUNNING, Ledger
    from raysweep.cluster.runs.progress import Progress
    from raysweep.cluster.search.deadline import Deadline
    from raysweep.cluster.search.recorder import RunRecorder
    from raysweep.cluster.search.tune_callback import TuneCallback
    from raysweep.core.storage import Storage
    from raysweep.trainables.trial_files import INDEX

    ledger = Ledger(Storage(tmp_path / "run"), "val", "min")
    record = ledger.add({}, {"x": 1})
    again: list[Any] = []
    searcher: Any = SimpleNamespace(ledger=ledger, again=again.append)
    deadline, progress = Deadline(), Progress(1, quiet=True)
    recorder = RunRecorder(ledger, Storage(tmp_path / "run"), progress, deadline)
    callback = TuneCallback(searcher, recorder, deadline)
    trial = _trial(tmp_path, _died("Worker unexpectedly exits."), num_failures=1)
    trial.config = {INDEX: 0, "x": 1}
    lost = _trial(tmp_path / "lost", _died("The actor died because its node has died."), 1)
    lost.config = trial.config
    for _ in range(5):
        callback.on_trial_error(0, [], lost)
    for _ in range(3):
        callback.on_trial_error(0, [], trial)
    assert (record.status, len(again)) == (RUNNING, 8)
    callback.on_trial_error(0, [], trial)
    assert (record.status, record.error) == (FAILED, "Worker unexpectedly exits.")
    message = (tmp_path / "run" / "trials" / "00000" / "error.txt").read_text()
    assert message == "Failure # 1\nWorker unexpectedly exits.\n"
