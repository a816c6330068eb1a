"""What is said of a cluster before a job, as far as no cluster is needed to see it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from raysweep.cluster.machines.preflight import _driver_warning, exposure


def _on(node: str) -> Any:
    context = SimpleNamespace(get_node_id=lambda: node)
    return SimpleNamespace(get_runtime_context=lambda: context)


def test_a_driver_on_a_spot_node_is_told_so() -> None:
    nodes: list[dict[str, Any]] = [
        {"NodeID": "a", "Labels": {"ray.io/market-type": "spot"}},
        {"NodeID": "b", "Labels": {"ray.io/market-type": "on-demand"}},
        {"NodeID": "c", "Labels": None},
    ]
    (warning,) = _driver_warning(_on("a"), nodes)
    assert "spot" in warning
    assert not list(_driver_warning(_on("b"), nodes))
    assert not list(_driver_warning(_on("c"), nodes))


class _Dashboard(BaseHTTPRequestHandler):
    mode = "disabled"

    def do_GET(self) -> None:
        body = json.dumps({"authentication_mode": self.mode}).encode()
        self.send_response(200 if self.path == "/api/authentication_mode" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """No log."""


@pytest.fixture
def dashboard() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Dashboard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def _ray(address: str | None) -> Any:
    worker = SimpleNamespace(get_dashboard_url=lambda: address)
    return SimpleNamespace(_private=SimpleNamespace(worker=worker))


def test_only_an_open_job_server_at_an_address_of_the_network_is_one(
    dashboard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`0.0.0.0` stands for an address of this machine's network here."""
    public = f"0.0.0.0:{dashboard}"
    assert f"listen at {public}" in exposure(_ray(public))
    assert not exposure(_ray(f"127.0.0.1:{dashboard}"))
    assert not exposure(_ray(None)), "no dashboard at all"
    monkeypatch.setattr(_Dashboard, "mode", "token")
    assert not exposure(_ray(public))
