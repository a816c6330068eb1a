"""A Ray cluster on the hosts, and commands run on it or on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from .hosts import Host, Hosts

__all__ = [
    "HEALTH",
    "ROOT",
    "SEARCH",
    "SECRET",
    "SMALL",
    "TOKEN",
    "Cluster",
    "finish",
    "raysweep",
    "wait_until",
]

ROOT = Path(__file__).resolve().parents[2]
SECRET = "hidden-secret"
TOKEN = "0123456789abcdef" * 4
# A host that is cut off is noticed after a few seconds, not after a minute.
HEALTH = (
    "RAY_health_check_initial_delay_ms=1000 RAY_health_check_period_ms=500 "
    "RAY_health_check_timeout_ms=1000 RAY_health_check_failure_threshold=4 "
    # A worker whose head is gone ends by itself, after these seconds.
    "RAY_gcs_rpc_server_reconnect_timeout_s=10"
)
# Each epoch takes long enough for a fault to hit the middle of a trial.
SEARCH = ["tune", "matrix_factorization", "l2", "embedding_size", "--num-samples", "12"]
SEARCH += ["--searcher", "random", "--epochs", "6", "--set", "batch_size=1", "--json"]
SEARCH += ["--name", "run"]
SMALL = "--object-store-memory=150000000 --disable-usage-stats"


def wait_until(holds: Callable[[], bool], what: str, timeout: float = 120) -> None:
    """Waits until something holds; fails with `what` otherwise."""
    until = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.1)


@dataclass
class Cluster:
    """One head without CPUs of its own and two workers with one each, as in the shipped files."""

    hosts: Hosts
    _up: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Starts what does not run."""
        if self.hosts.head.name not in self._up:
            self._up.clear()
            self._ray_start(self.hosts.head, "--head --port=6379 --num-cpus=0")
        join = f"--address={self.hosts.head.ip}:6379 --num-cpus=1"
        down = [worker for worker in self.hosts.workers if worker.name not in self._up]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda worker: self._ray_start(worker, join), down))

    def _ray_start(self, host: Host, options: str) -> None:
        host.run(f"ray stop --force; {HEALTH} ray start {options} {SMALL}")
        self._up.add(host.name)

    def stop(self) -> None:
        """Stops all of it."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: host.run("ray stop --force"), self.hosts))
        self._up.clear()

    def kill(self, host: Host) -> None:
        """Switches a host off in mid-work, and on again without Ray."""
        host.kill()
        self._up.discard(host.name)
        host.start()

    def kill_raylet(self, host: Host) -> None:
        """Kills Ray's own process of a host with -9; its workers end with it."""
        listed = ["ip", "netns", "pids", host.name]
        pids = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
        raylets = [p for p in map(psutil.Process, map(int, pids)) if p.name() == "raylet"]
        assert len(raylets) == 1
        raylets[0].kill()
        self._up.discard(host.name)

    def drain(self, host: Host) -> None:
        """Takes a host away as a cloud does a spot instance: with a notice, and then for good."""
        notice = "--reason DRAIN_NODE_REASON_PREEMPTION --reason-message spot"
        host.run(f"ray drain-node {notice} --deadline-remaining-seconds 1")
        time.sleep(1)
        self.kill(host)

    def cut(self, host: Host) -> None:
        """Takes a host's network away."""
        host.cut()
        self._up.discard(host.name)

    def begin(
        self, arguments: list[str], log: Path, environment: str = ""
    ) -> subprocess.Popen[bytes]:
        """Starts a raysweep command on the head, as `ray submit` does."""
        command = f"{environment} python {ROOT}/cluster/submit.py {shlex.join(arguments)}"
        return self.hosts.head.start_command(command, log)


def finish(process: subprocess.Popen[bytes], log: Path, timeout: float = 150) -> str:
    """Waits for a command to succeed; returns its output."""
    code = process.wait(timeout=timeout)
    output = log.read_text()
    assert code == 0, output[-4000:]
    return output


def raysweep(*arguments: str, timeout: float = 240, cwd: Path = ROOT) -> None:
    """Runs a command on this machine alone."""
    done = subprocess.run(
        [sys.executable, "-m", "raysweep.cluster.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
