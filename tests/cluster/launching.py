"""What a user does on a machine that is none of the hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from .hosts import Hosts
from .running import HEALTH, ROOT, SMALL, TOKEN

__all__ = ["launch_config", "run_as_user", "user_environment"]

_BIN = Path(sys.executable).parent


def _home(hosts: Hosts) -> Path:
    home = hosts.shared.parent / "user"
    (home / ".ray").mkdir(parents=True, exist_ok=True)
    (home / ".ray" / "auth_token").write_text(TOKEN)
    return home


def user_environment(hosts: Hosts) -> dict[str, str]:
    """A user's own machine: its token, its folder for Ray's files."""
    user = str(_home(hosts))
    own = {"HOME": user, "RAY_TMPDIR": user, "RAY_AUTH_MODE": "token"}
    own["PATH"] = f"{_BIN}:{os.environ['PATH']}"
    return {**{k: v for k, v in os.environ.items() if not k.startswith("RAY_")}, **own}


def run_as_user(
    hosts: Hosts, *command: str, cwd: Path | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs a command on the user's own machine, which is none of the hosts."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=user_environment(hosts), cwd=cwd
    )
    assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def launch_config(hosts: Hosts) -> Path:
    """The shipped configuration, with these addresses and nothing to install."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster/onprem/ray_config.yaml").read_text())
    config["provider"] |= {"head_ip": hosts.head.ip, "worker_ips": [w.ip for w in hosts.workers]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    config["setup_commands"] = []
    user = _home(hosts)
    config["file_mounts"] = {"~/.ray/auth_token": str(user / ".ray" / "auth_token")}
    head, workers = (config[f"{kind}_start_ray_commands"] for kind in ("head", "worker"))
    for commands, more in ((head, ""), (workers, "--num-cpus=1 ")):
        commands[-1] = commands[-1].replace("ray start", f"{HEALTH} ray start") + f" {more}{SMALL}"
    path = user / "ray_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
