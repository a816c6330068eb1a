"""When a search ends before its trials do: time is over, a goal reached, the storage failed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Deadline", "stop_on_signal"]

_STOPPING = (
    b"\nraysweep: stopping after the epochs under way; once more, and it stops at once (epochs "
    b"that are done are kept)\n"
)


class Deadline:
    """Says when to stop; trials can go on later.

    Args:
        seconds: time from now; None for no limit.

    Attributes:
        expired: whether the run is being stopped.
        signalled: whether a signal asked for the end.
        problem: why results can no longer be kept; empty while they can.
        refusal: why no trial of this request can come to a result; empty where they can.
        reached_goal: what the search was to reach, and has; empty before.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self.expired = self.signalled = False
        self.problem = self.refusal = self.reached_goal = ""

    def reached(self) -> bool:
        """Looks at the clock: whether it is time to stop."""
        if self._end is not None and time.monotonic() > self._end:
            self.expired = True
        return self.expired

    def stop(self) -> None:
        """Ends the search at the next opportunity, because a signal asked for it."""
        self.expired = self.signalled = True

    def fail(self, problem: str) -> None:
        """Ends the search at the next opportunity, because results can no longer be kept."""
        self.expired, self.problem = True, self.problem or problem

    def refuse(self, refusal: str) -> None:
        """Ends the search at the next opportunity, because of something that the user can fix."""
        self.expired, self.refusal = True, self.refusal or refusal

    def succeed(self, goal: str) -> None:
        """Ends the search at the next opportunity, because it has what it was started for."""
        self.expired, self.reached_goal = True, self.reached_goal or goal


@contextmanager
def stop_on_signal(deadline: Deadline) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the search cleanly; a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: Any) -> None:
        if deadline.signalled:
            raise KeyboardInterrupt
        deadline.stop()
        # Not print: the signal may have come in the middle of a line that the search itself writes.
        os.write(2, _STOPPING)

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
