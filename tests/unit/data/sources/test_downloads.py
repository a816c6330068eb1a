"""Downloads from a real HTTP server: cut, stalled, resumed, by several processes at once."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raysweep.core.errors import UserError
from raysweep.data.sources import downloads
from raysweep.data.sources import fetch as sources
from tests.unit.data.sources.toys import (
    CHUNK,
    PAYLOAD,
    SHA256,
    Server,
    add_toy,
    fetch_toy,
    leftovers,
    zipped,
)


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
