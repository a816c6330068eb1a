"""One command at a time on a folder of this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from raysweep.core.errors import UserError
from raysweep.core.storage import Storage

__all__ = ["exclusive", "is_taken"]


@contextlib.contextmanager
def exclusive(storage: Storage, what: str, fix: str) -> Iterator[None]:
    """Keeps two commands from writing to one local folder at a time.

    Args:
        storage: the folder; one in an object store is not locked.
        what: what is being written, for messages, e.g. `the run runs/films`.
        fix: for messages, what else the user can do, e.g. `name another folder`.

    Raises:
        UserError: another process has the lock, or the folder cannot be written to.
    """
    if storage.local is None:
        yield
        return
    from filelock import FileLock, Timeout

    try:
        storage.local.mkdir(parents=True, exist_ok=True)
        lock = FileLock(storage.local / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{what} is under way in another process; wait for it, stop it, or {fix}"
        ) from None
    except OSError as error:
        raise UserError(f"the folder of {what} cannot be written to: {error}; {fix}") from None
    try:
        yield
    finally:
        lock.release()


def is_taken(storage: Storage) -> bool:
    """Returns whether a process holds the lock of a folder; False for one in an object store."""
    if storage.local is None or not (storage.local / ".lock").exists():
        return False
    from filelock import FileLock, Timeout

    lock = FileLock(storage.local / ".lock", timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return True
    lock.release()
    return False
