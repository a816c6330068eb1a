"""The loss of a node is not counted as a trial's failure; the death of its process is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cluster  # noqa: F401  (sets what Ray reads when it is imported)


def _died(why: str) -> Exception:
    from ray.exceptions import ActorDiedError

    error = ActorDiedError()
    error.error_msg = why
    return error


def _unavailable() -> Exception:
    from ray.exceptions import ActorUnavailableError

    return ActorUnavailableError("Socket closed", b"\0" * 16)


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
    from ray import cloudpickle

    from cluster.callback import RunCallback

    path = tmp_path / "error.pkl"
    path.write_bytes(cloudpickle.dumps(error))
    metadata = SimpleNamespace(num_failures=1)
    trial: Any = SimpleNamespace(run_metadata=metadata, pickled_error_file=str(path))
    callback = RunCallback(SimpleNamespace(ledger=None), None, None, None)  # type: ignore[arg-type]
    callback.on_trial_recover(0, [], trial)
    assert metadata.num_failures == counted
