"""A real S3 server (moto's), and before it a proxy that loses, delays and refuses requests."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["FaultyStore", "faulty_store"]

# Headers between two neighbours, which are not passed on.
_OF_A_HOP = ("transfer-encoding", "connection", "content-length")


class FaultyStore(ThreadingHTTPServer):
    """The proxy.

    Attributes:
        mode: "well"; "errors", where of seven requests one fails, one is late and one is done but
            its answer is lost; or "down", where all fail.
        faults: how many requests were not answered as they should have been.
    """

    daemon_threads = True

    def __init__(self, address: str, behind: int) -> None:
        super().__init__((address, 0), _Handler)
        self.behind, self.mode, self.faults, self._count = behind, "well", 0, 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"

    def next_fault(self) -> str:
        """What is to happen to the next request."""
        with self._lock:
            self._count += 1
            kind = {"well": "", "down": "refuse"}.get(self.mode)
            if kind is None:
                kind = ("refuse", "", "", "late", "", "lost", "")[self._count % 7]
            self.faults += bool(kind)
            return kind

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that gave up are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyStore

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _serve(self) -> None:
        body = self._body()
        fault = self.server.next_fault()
        if fault == "refuse":
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "late":
            time.sleep(0.5)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _OF_A_HOP}
        headers["Content-Length"] = str(len(body))
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if fault == "lost":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_A_HOP:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        """No log."""


@contextlib.contextmanager
def faulty_store(address: str) -> Iterator[FaultyStore]:
    """Starts server and proxy, with a bucket named `bucket`.

    Both are threads of this process, and end with it however that is killed. The proxy listens on
    `address`, at a port of its own.
    """
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    proxy = FaultyStore(address, port)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("PUT", "/bucket")
        assert connection.getresponse().status == 200
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        server.stop()
