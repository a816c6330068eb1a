"""What `raysweep.core.ray_private` relies on and only a session shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from raysweep.core import ray_private

pytestmark = pytest.mark.timeout(120)


def test_workers_are_what_the_raylet_of_this_process_has_started(ray: Any) -> None:
    pid = ray.get(ray.remote(lambda: __import__("os").getpid()).remote())
    pids = {worker.pid for worker in ray_private.worker_processes()}
    assert pid in pids, "no child of this process is called raylet, or workers are not its children"
    assert psutil.Process().pid not in pids


def test_the_autoscaler_is_a_child_of_this_process(ray: Any) -> None:
    (autoscaler,) = ray_private.autoscaler_processes()
    assert autoscaler.ppid() == psutil.Process().pid


def test_a_local_session_listens_at_the_loopback_address_alone(ray: Any) -> None:
    assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}
    this = psutil.Process()
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in (this, *this.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}, "others on the network reach this session"


def test_a_session_without_a_dashboard_has_no_address_of_one(ray: Any) -> None:
    assert ray_private.dashboard_address(ray) == ""


@pytest.fixture
def trial(ray: object, tmp_path: Path) -> Any:
    """A trial of Ray Tune's own, outside any search."""
    from ray.train._internal.storage import StorageContext
    from ray.tune import Trainable
    from ray.tune.experiment import Trial
    from ray.tune.registry import register_trainable

    register_trainable("nothing", Trainable)
    storage = StorageContext(str(tmp_path), experiment_dir_name="run", trial_dir_name="trial")
    trial = Trial("nothing", storage=storage)
    trial.init_local_path()
    return trial


def _died(why: str) -> Exception:
    from ray.exceptions import ActorDiedError

    error = ActorDiedError()
    error.error_msg = why
    return error


def test_failures_of_a_trial_are_counted_where_they_can_be_forgiven(trial: Any) -> None:
    assert ray_private.num_failures(trial) == 0
    trial.handle_error(_died("Worker unexpectedly exits."))
    trial.handle_error(_died("Worker unexpectedly exits."))
    assert ray_private.num_failures(trial) == 2, "Ray Tune counts failures somewhere else"
    ray_private.forgive_failure(trial)
    assert trial.num_failures == 1, "Ray Tune compares another count with `max_failures`"
    ray_private.forgive_failure(trial)
    ray_private.forgive_failure(trial)
    assert trial.num_failures == 0


def test_a_trials_last_error_is_kept_as_an_exception(trial: Any) -> None:
    from ray.exceptions import ActorUnavailableError

    assert not ray_private.node_was_lost(trial), "no error yet"
    trial.handle_error(_died("Worker unexpectedly exits."))
    assert not ray_private.node_was_lost(trial)
    trial.handle_error(_died("The actor died because its node has died. Node Id: 4006c7"))
    assert ray_private.node_was_lost(trial), "Ray Tune does not pickle a trial's last error"
    trial.handle_error(_died("Worker unexpectedly exits."))
    trial.handle_error(ActorUnavailableError("Socket closed", b"\0" * 16))
    assert ray_private.node_was_lost(trial)


def test_statistics_of_a_trial_can_be_emptied(trial: Any) -> None:
    trial.update_last_result({"val_loss": 1.0, "training_iteration": 1})
    assert "val_loss" in trial.metric_analysis
    ray_private.clear_statistics(trial)
    assert not trial.metric_analysis, "Ray Tune keeps its statistics somewhere else"
    assert not trial.metric_n_steps
