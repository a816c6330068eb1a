"""Files in an object store: a real S3 server on this machine, and a run that TensorBoard shows."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from raysweep.analysis.tensorboard.writer import TrialWriter
from raysweep.cluster.runs.mirror import Mirror
from raysweep.core.errors import UserError
from raysweep.core.storage import PATIENCE, Storage

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("PUT", "/bucket")
    assert connection.getresponse().status == 200
    yield f"{host}:{port}"
    running.stop()


@pytest.fixture
def storage(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    """A folder of its own for each test, named with its endpoint."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv(PATIENCE, "1")
    where = f"endpoint_override={server}&scheme=http"
    return Storage(f"s3://bucket/{request.node.name}?{where}")


def test_files_are_written_read_and_listed(storage: Storage) -> None:
    (storage / "trials" / "00001").write("a", b"xyz")
    storage.write("b", "é")
    assert storage.read("trials/00001/a") == b"xyz"
    assert storage.read("trials/00001/a", 1) == b"x"
    assert dict(storage.files()) == {"trials/00001/a": 3, "b": 2}
    assert storage.exists("b")
    assert not storage.exists("c")
    with pytest.raises(FileNotFoundError):
        storage.read("c")
    before = storage.states()
    storage.write("b", "éé")
    assert {name for name, state in storage.states().items() if state != before[name]} == {"b"}
    storage.remove_all()
    assert not dict(storage.files())


def test_what_a_folder_holds_at_the_end_is_uploaded(storage: Storage) -> None:
    with storage.as_folder() as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "picture.png").write_bytes(b"png")
    assert not folder.exists()
    assert storage.read("deep/picture.png") == b"png"


def test_a_bucket_that_is_not_there_is_said_at_once(server: str, storage: Storage) -> None:
    absent = Storage(storage.uri.replace("bucket", "absent"))
    with pytest.raises(
        OSError, match=r"the storage s3://absent/\S+ failed for 0 s: .*NO_SUCH_BUCKET"
    ):
        absent.write("a", b"")


def test_keys_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID") as error:
        Storage("s3://someone:hidden-secret@bucket/runs")
    assert "hidden-secret" not in str(error.value)


def _points(folder: Path, tag: str) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return {event.step: event.value for event in accumulator.Scalars(tag)}


def test_a_mirror_follows_what_tensorboard_shows(storage: Storage, tmp_path: Path) -> None:
    writer = TrialWriter(tmp_path / "here")
    name = "trials/00000/events.out.tfevents.trial"

    def upload() -> None:
        writer._writer.flush()
        (written,) = (tmp_path / "here").glob("*tfevents*")
        storage.write(name, written.read_bytes())

    writer.scalars({"epoch": 1, "val_rmse": 2.0})
    upload()
    storage.write("trials/00000/last.safetensors", b"large")
    storage.write("best/vectors.tensors.tsv", "1\t2\n")
    mirror = Mirror(storage, tmp_path / "copy")
    assert mirror.update() == 2
    copy = tmp_path / "copy" / name
    inode = copy.stat().st_ino
    assert _points(copy.parent, "validation/rmse") == {1: 2.0}
    assert not (copy.parent / "last.safetensors").exists(), "checkpoints stay where they are"
    assert mirror.update() == 0
    writer.scalars({"epoch": 2, "val_rmse": 1.0})
    upload()
    assert mirror.update() == 1
    assert _points(copy.parent, "validation/rmse") == {1: 2.0, 2: 1.0}
    assert copy.stat().st_ino == inode, "TensorBoard reads on in the file that it has open"
