"""Real hosts on one machine: each with its own address, processes, home, ssh server, /tmp/ray.

A host is a network namespace on a bridge, and in it a process namespace with private mounts. What
runs there sees no process of another host, and dies with the host. What is below the folder of the
test is the same for all hosts, as on a network file system.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

__all__ = ["GATEWAY", "Host", "Hosts", "missing", "three_hosts"]

_NET = "10.213.77"
_BRIDGE = "rsbr0"
# This machine, as the hosts see it.
GATEWAY = f"{_NET}.1"

_ENTER = "ip netns exec {name} unshare --pid --mount --uts --fork --mount-proc --kill-child"
# The home of root is a folder of the host's own, because `ray up` leaves files there.
_BOOT = """
set -e
hostname {name}
mount --bind {folder}/passwd /etc/passwd
mount --bind {folder}/hosts /etc/hosts
mkdir -p /tmp/ray /run/sshd
mount --bind {folder}/ray /tmp/ray
mount -t tmpfs -o size=1g tmpfs /dev/shm
{hide}
exec /usr/sbin/sshd -D -e -f {folder}/sshd_config 2>>{folder}/sshd.log
"""
_SSHD = """
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
PidFile none
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
UsePAM no
PrintMotd no
MaxStartups 50
"""


def missing() -> str:
    """Why hosts cannot be built here; empty if they can."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [c for c in ("ip", "sshd", "ssh-keygen", "unshare", "rsync") if not _which(c)]
    if absent:
        return f"needs {', '.join(absent)}"
    probe = ["ip", "link", "add", "rsprobe0", "type", "bridge"]
    if subprocess.run(probe, capture_output=True).returncode:
        return "needs the right to make network devices"
    subprocess.run(["ip", "link", "del", "rsprobe0"], check=True)
    return ""


def _which(command: str) -> str | None:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _sh(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@dataclass
class Host:
    """One host.

    Attributes:
        name: of its network namespace.
        ip: its address.
        folder: what is its own: home, /tmp/ray, the log of its ssh server.
        key: the private key that its ssh server takes.
        others: the folders of the other hosts.
    """

    name: str
    ip: str
    folder: Path
    key: Path
    others: tuple[Path, ...] = ()
    _init: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def home(self) -> Path:
        """Its ~."""
        return self.folder / "home"

    def start(self) -> None:
        """Switches it on; its files are as it left them, but for /tmp/ray."""
        shutil.rmtree(self.folder / "ray", ignore_errors=True)
        (self.folder / "ray" / "tmp").mkdir(parents=True)
        # The disks of the other hosts are not to be seen from here.
        hide = "\n".join(f"mount -t tmpfs tmpfs {other}" for other in self.others)
        boot = _BOOT.format(name=self.name, folder=self.folder, hide=hide)
        self._init = subprocess.Popen(
            [*_ENTER.format(name=self.name).split(), "bash", "-c", boot],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "boot.log").open("ab"),
            start_new_session=True,
        )
        for _ in range(100):
            if self.run("true", check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(
            f"{self.name} does not start: {(self.folder / 'boot.log').read_text()}"
        )

    def kill(self) -> None:
        """Switches it off: all its processes end at once."""
        if self._init is not None:
            # The processes of the namespace end with its first one, which ends with `unshare`.
            self._init.kill()
            self._init.wait()
            self._init = None
            time.sleep(0.2)

    def cut(self) -> None:
        """Pulls the network cable."""
        _sh("ip", "link", "set", f"{self.name}b", "down")

    def fix(self) -> None:
        """Puts the network cable back."""
        _sh("ip", "link", "set", f"{self.name}b", "up")

    def ssh(self) -> list[str]:
        """The command line in front of what is to run there."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        options += ("ConnectTimeout=5", "BatchMode=yes")
        return [
            "ssh",
            *(p for o in options for p in ("-o", o)),
            "-i",
            str(self.key),
            f"root@{self.ip}",
        ]

    def run(
        self, command: str, *, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in a login shell."""
        quoted = command.replace("'", "'\\''")
        done = subprocess.run(
            [*self.ssh(), f"bash -lc '{quoted}'"], capture_output=True, text=True, timeout=timeout
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done

    def start_command(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        """Starts a command in a login shell, writing all that it says to a file."""
        quoted = command.replace("'", "'\\''")
        with log.open("ab") as file:
            return subprocess.Popen(
                [*self.ssh(), f"bash -lc '{quoted}'"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )


@dataclass(frozen=True)
class Hosts:
    """Three hosts and what they share.

    Attributes:
        head, workers: the hosts.
        shared: a folder that all of them, and this machine, see.
        key: the private key for all ssh servers.
    """

    head: Host
    workers: tuple[Host, Host]
    shared: Path
    key: Path

    def __iter__(self) -> Iterator[Host]:
        return iter((self.head, *self.workers))


@contextlib.contextmanager
def three_hosts(folder: Path, python_bin: Path, environment: dict[str, str]) -> Iterator[Hosts]:
    """Builds the hosts, and takes everything down again, whatever happens.

    Args:
        folder: an empty folder for all that is theirs.
        python_bin: the folder of `python`, `ray` and `raysweep`, put first in their PATH.
        environment: variables that every shell there has.
    """
    with FileLock(Path(tempfile.gettempdir()) / "raysweep-test-hosts.lock", timeout=900):
        # Another test run on this machine would take these hosts for its own remains.
        yield from _three_hosts(folder, python_bin, environment)


def _three_hosts(folder: Path, python_bin: Path, environment: dict[str, str]) -> Iterator[Hosts]:
    _take_down()
    keys = folder / "keys"
    keys.mkdir(parents=True)
    for name in ("host", "user"):
        _sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name))
    names = ("rsh1", "rsh2", "rsh3")
    built = [
        Host(
            name,
            f"{_NET}.{number}",
            folder / name,
            keys / "user",
            tuple(folder / other for other in names if other != name),
        )
        for number, name in enumerate(names, start=11)
    ]
    shared = folder / "shared"
    shared.mkdir()
    try:
        _wire(built)
        for host in built:
            _furnish(host, built, keys, python_bin, environment)
        for host in built:
            host.start()
        yield Hosts(built[0], (built[1], built[2]), shared, keys / "user")
    finally:
        for host in built:
            host.kill()
        _take_down()


def _wire(hosts: list[Host]) -> None:
    _sh("ip", "link", "add", _BRIDGE, "type", "bridge")
    _sh("ip", "addr", "add", f"{_NET}.1/24", "dev", _BRIDGE)
    _sh("ip", "link", "set", _BRIDGE, "up")
    for host in hosts:
        inner = f"{host.name}a"
        _sh("ip", "netns", "add", host.name)
        _sh("ip", "link", "add", f"{host.name}b", "type", "veth", "peer", "name", inner)
        _sh("ip", "link", "set", inner, "netns", host.name)
        _sh("ip", "link", "set", f"{host.name}b", "master", _BRIDGE, "up")
        in_it = ("ip", "-n", host.name)
        _sh(*in_it, "addr", "add", f"{host.ip}/24", "dev", inner)
        _sh(*in_it, "link", "set", inner, "up")
        _sh(*in_it, "link", "set", "lo", "up")
        # Ray asks the route to a public address for the host's own address.
        _sh(*in_it, "route", "add", "default", "via", f"{_NET}.1")


def _furnish(
    host: Host, all_hosts: list[Host], keys: Path, python_bin: Path, environment: dict[str, str]
) -> None:
    host.home.mkdir(parents=True)
    lines = Path("/etc/passwd").read_text().splitlines()
    root = f"root:x:0:0:root:{host.home}:/bin/bash"
    lines = [root if line.startswith("root:") else line for line in lines]
    (host.folder / "passwd").write_text("\n".join(lines) + "\n")
    names = [f"{h.ip} {h.name}" for h in all_hosts]
    (host.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n")
    (host.folder / "sshd_config").write_text(_SSHD.format(keys=keys))
    # Temporary files are a host's own, too.
    environment = {**environment, "TMPDIR": "/tmp/ray/tmp"}
    # Not over what is set: where Ray was started by ssh, Bash reads this for its workers, too.
    exports = [f'export {name}="${{{name}:-{value}}}"' for name, value in environment.items()]
    profile = "\n".join([f"export PATH={python_bin}:$PATH", *exports]) + "\n"
    for name in (".bashrc", ".profile"):
        (host.home / name).write_text(profile)


def _take_down() -> None:
    """Removes namespaces and bridge, also those that a killed test left behind."""
    for name in ("rsh1", "rsh2", "rsh3"):
        pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout
        for pid in pids.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", f"{name}b"], capture_output=True)
    subprocess.run(["ip", "link", "del", _BRIDGE], capture_output=True)
