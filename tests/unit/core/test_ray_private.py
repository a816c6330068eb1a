"""What `raysweep.core.ray_private` relies on, tried with the Ray that is installed.

A failure here says which private part a new version of Ray has changed. Those that need a session
are in `tests/ray/test_ray_private.py`.
"""

from __future__ import annotations

import inspect
import mmap
from pathlib import Path
from types import ModuleType

from raysweep import cluster
from raysweep.core import ray_private

# Here, because `raysweep.cluster` sets what Ray reads when it is imported.
import ray  # isort: skip

RAY = Path(ray.__file__).parent


def _holds(file: Path, text: str) -> bool:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(text.encode()) >= 0


def _source(module: ModuleType) -> str:
    return inspect.getsource(module)


def test_a_trainable_may_return_a_checkpoint_that_is_empty() -> None:
    from ray.tune.trainable import trainable

    checkpoint = ray_private.empty_checkpoint()
    assert isinstance(checkpoint, trainable._TrainingResult), "`save` returns another class now"
    assert (checkpoint.checkpoint, checkpoint.metrics) == (None, {})


def test_a_scheduler_can_see_whether_a_trial_has_a_process() -> None:
    from ray.air.execution._internal import RayActorManager
    from ray.tune.execution import tune_controller

    source = _source(tune_controller)
    for text in ("self._tune_controller = tune_controller", "self._trial_to_actor[trial] = "):
        assert text in source, f"Ray Tune's controller has no `{text}` any more"
    assert callable(RayActorManager.is_actor_started)


def test_ray_words_the_loss_of_a_node_as_before() -> None:
    gcs = RAY / "core/src/ray/gcs/gcs_server"
    assert _holds(gcs, "node has died"), "a lost node would count as a failure of its trials"


def test_ray_data_calls_back_while_it_executes() -> None:
    from ray.data import DataContext
    from ray.data._internal.execution import streaming_executor

    callback = ray_private.execution_callback()
    for method in ("before_execution_starts", "on_execution_step"):
        assert list(inspect.signature(getattr(callback, method)).parameters) == ["self", "executor"]
        assert f".{method}(self)" in _source(streaming_executor), f"nobody calls {method}"
    assert DataContext().custom_execution_callback_classes == [], "the setting has another name"


def test_the_files_of_an_upload(tmp_path: Path) -> None:
    for name in ("kept.py", "ignored.log", "folder/kept.py", "left/out.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / ".rayignore").write_text("left\n")
    names = {str(p.relative_to(tmp_path)) for p in ray_private.uploaded_files(tmp_path)}
    assert names == {".gitignore", ".rayignore", "kept.py", "folder/kept.py"}


def test_a_local_session_can_be_kept_off_the_network() -> None:
    from ray._private import ray_constants, services

    assert "ray_constants.ENABLE_RAY_CLUSTER" in _source(services)
    before = ray_constants.ENABLE_RAY_CLUSTER
    with ray_private.loopback_only():
        assert services.get_node_ip_address() == "127.0.0.1", "Ray takes its address from elsewhere"
    assert ray_constants.ENABLE_RAY_CLUSTER is before


def test_ray_words_a_refused_token_as_before() -> None:
    assert _holds(RAY / "_raylet.so", ray_private.WRONG_TOKEN)


def test_the_dashboard_tells_whether_it_asks_for_a_token() -> None:
    from ray.dashboard import http_server_head

    source = _source(http_server_head)
    assert f'"{ray_private.AUTHENTICATION_MODE_PATH}"' in source
    assert '"authentication_mode"' in source or "authentication_mode=" in source


def test_the_launcher_leaves_its_configuration_on_the_head() -> None:
    from ray.autoscaler._private import commands

    assert str(ray_private.LAUNCHER_CONFIG) in _source(commands)


def test_ray_still_reads_every_setting() -> None:
    """A name that Ray does not know is ignored, and nobody would be told."""
    sources = "".join(path.read_text() for path in RAY.glob("*/**/*.py") if _is_read(path))
    binary = RAY / "_raylet.so"
    for name in (*cluster.SETTINGS, "TUNE_MAX_PENDING_TRIALS_PG"):
        flag = name.removeprefix("RAY_")
        known = f'"{name}"' in sources or f"'{name}'" in sources or _holds(binary, flag)
        assert known, f"Ray does not read ${name} any more"


def _is_read(path: Path) -> bool:
    folder = path.relative_to(RAY).parts[0]
    return folder in ("_common", "_private", "tune", "train")
