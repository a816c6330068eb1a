"""Everything that raysweep uses of Ray beside its public interface, in this one file.

Any release of Ray may change it. `tests/unit/core/test_ray_private.py` and
`tests/ray/test_ray_private.py` try each part with the Ray that is installed, and say in words which
one has changed; run them first when the version in `pyproject.toml` is raised.

It is in `core` because `data`, `trainables` and `cluster` each use some of it. Ray takes a second
to import, so the functions import it themselves.
"""

from __future__ import annotations

import copy
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

__all__ = [
    "AUTHENTICATION_MODE_PATH",
    "LAUNCHER_CONFIG",
    "WRONG_TOKEN",
    "autoscaler_processes",
    "clear_statistics",
    "dashboard_address",
    "empty_checkpoint",
    "execution_callback",
    "forgive_failure",
    "has_process",
    "is_member",
    "keep_processes",
    "loopback_only",
    "node_was_lost",
    "num_failures",
    "pickle_code",
    "reported_checkpoint",
    "restored_from",
    "trial_storage",
    "unpickle_code",
    "uploaded_files",
    "worker_processes",
    "wrapped_function",
]

# What Ray writes to standard error when a cluster refuses the token.
WRONG_TOKEN = "InvalidAuthToken"
# Where the dashboard says whether it asks for a token.
AUTHENTICATION_MODE_PATH = "/api/authentication_mode"
# `ray up` leaves the cluster's configuration there, on the head.
LAUNCHER_CONFIG = Path("~/ray_bootstrap_config.yaml")


@contextmanager
def loopback_only() -> Iterator[None]:
    """Has `ray.init` start a session that listens at 127.0.0.1 alone.

    Ray does that where it supports no clusters (macOS, Windows), and has no argument for it:
    `_node_ip_address="127.0.0.1"` is taken for the machine's address in the network.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def worker_processes() -> list[psutil.Process]:
    """The workers of the local session that this process has started; none on a cluster."""
    raylets = [p for p in psutil.Process().children() if p.name() == "raylet"]
    return [worker for raylet in raylets for worker in raylet.children(recursive=True)]


def autoscaler_processes() -> list[psutil.Process]:
    """The autoscaler of the local session that this process has started."""
    return [
        process
        for process in psutil.Process().children()
        if any(part.endswith("/monitor.py") for part in process.cmdline())
    ]


def pickle_code(code: Any) -> bytes:
    """A function or a class as Ray writes it: by its name, or by value where that is asked for."""
    from ray import cloudpickle

    written: bytes = cloudpickle.dumps(code)
    return written


def unpickle_code(pickled: bytes) -> Any:
    """What `pickle_code` wrote in the driver of this worker."""
    from ray import cloudpickle

    return cloudpickle.loads(pickled)


def is_member(address: str) -> bool:
    """Whether a driver on this machine can join a cluster; elsewhere Ray would end the process.

    Args:
        address: of the cluster, host:port, or "auto", which finds only what runs here.
    """
    if ":" not in address:
        return True
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or []
        sockets = [a.partition("=")[2] for a in arguments if a.startswith("--raylet_socket_name=")]
        # Of a container on this machine the process is seen, but not the socket.
        if f"--gcs-address={address}" in arguments and any(Path(each).exists() for each in sockets):
            return True
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()  # Ray would try for a minute
        nodes = GcsClient(address=address).get_all_node_info().values()
    except Exception:  # what is wrong there, Ray says when it connects
        return True
    return any(Path(node.raylet_socket_name).exists() for node in nodes)


def dashboard_address(ray: Any) -> str:
    """`host:port` of the connected cluster's dashboard and job server; empty if it has none.

    Args:
        ray: the module, connected to the cluster.
    """
    return ray._private.worker.get_dashboard_url() or ""


def uploaded_files(folder: Path) -> list[Path]:
    """The files that `ray job submit --working-dir` sends: what .gitignore and .rayignore leave."""
    from ray._private.runtime_env.packaging import _dir_travel

    paths: list[Path] = []
    quiet = logging.getLogger("ray.quiet")
    quiet.setLevel(logging.ERROR)
    _dir_travel(folder, [], paths.append, include_gitignore=True, logger=quiet)
    return [path for path in paths if path.is_file()]


def empty_checkpoint() -> Any:
    """What a trainable's `save` returns when Ray Tune is to keep no state of the trial."""
    from ray.train._internal.session import _TrainingResult

    return _TrainingResult(checkpoint=None, metrics={})


def reported_checkpoint(trainable: Any) -> Any:
    """The checkpoint that came with the last result of a function under Ray Tune; None without."""
    result = trainable._last_training_result
    return None if result is None else result.checkpoint


def restored_from(checkpoint: Any, iteration: int) -> Any:
    """What `Trainable.restore` takes, so that the trainable counts on from an iteration."""
    from ray.train._internal.session import _TrainingResult

    return _TrainingResult(checkpoint=checkpoint, metrics={"training_iteration": iteration})


def trial_storage(template: Any, filesystem: Any, folder: str, next_checkpoint: int) -> Any:
    """A trainable's storage, such that what it reports as a checkpoint is kept in a folder of ours.

    Args:
        template: the storage that Ray Tune gave to the trainable around it.
        filesystem: Arrow's, of the run.
        folder: the trial's, in that file system: RUN/trials/INDEX.
        next_checkpoint: number of the checkpoint that is reported next.
    """
    storage = copy.copy(template)
    run, trials, trial = folder.rsplit("/", 2)
    storage.storage_filesystem, storage.storage_fs_path = filesystem, run
    storage.experiment_dir_name, storage.trial_dir_name = trials, trial
    storage.current_checkpoint_index = next_checkpoint - 1
    # A marker file of Ray's own shows every node that it sees the storage; `preflight` has done so.
    storage._check_validation_file = lambda: None
    return storage


def wrapped_function(function: Any) -> type:
    """The class by which Ray Tune runs a function."""
    from ray.tune.trainable import wrap_function

    return wrap_function(function)


def execution_callback() -> type:
    """The base class for `DataContext.custom_execution_callback_classes`."""
    from ray.data._internal.execution.execution_callback import ExecutionCallback

    return ExecutionCallback


def num_failures(trial: Any) -> int:
    """How often Ray Tune has counted a failure of one of its trials."""
    return int(trial.run_metadata.num_failures)


def has_process(tune_controller: Any, trial: Any) -> bool:
    """Whether a trial's process runs or starts; False if the trial waits for a place.

    Args:
        tune_controller: as a scheduler of Ray Tune's is given it.
        trial: one that is to run.
    """
    controller = tune_controller._tune_controller
    actor = controller._trial_to_actor.get(trial)
    return actor is not None and bool(controller._actor_manager.is_actor_started(actor))


def keep_processes(tune_controller: Any, trial: Any, count: int) -> None:
    """Has Ray Tune keep the processes of trials that have ended, for those that come next.

    It would keep one, and as many as there are trials that wait: where the next trial is chosen
    when a place is free, none does.

    Args:
        tune_controller: as a scheduler of Ray Tune's is given it.
        trial: whose kind of process is meant.
        count: how many to keep at most.
    """
    cache = tune_controller._tune_controller._actor_cache
    cache._max_num_objects[trial.placement_group_factory] = count


def forgive_failure(trial: Any) -> None:
    """Takes one failure off that count, which Ray Tune compares with `max_failures`."""
    trial.run_metadata.num_failures = max(0, trial.run_metadata.num_failures - 1)


def clear_statistics(trial: Any) -> None:
    """Empties the windows of every metric that Ray Tune keeps, also of trials that have ended."""
    trial.run_metadata.metric_analysis.clear()
    trial.run_metadata.metric_n_steps.clear()


def node_was_lost(trial: Any) -> bool:
    """Whether the trial's last process went with its node, and did not end by itself.

    Ray says so when the node is known to be dead. Of a node that has only just fallen silent it
    says that its actors cannot be reached.
    """
    from ray import cloudpickle
    from ray.exceptions import ActorUnavailableError

    try:
        # In the driver's own folder, written by this process a moment ago.
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except (OSError, TypeError):  # an error of Ray Tune's own has none
        return False
    return isinstance(error, ActorUnavailableError) or "node has died" in str(error)
