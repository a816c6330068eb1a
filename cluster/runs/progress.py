"""The progress line: how far, the best so far beside the default, the time left."""

from __future__ import annotations

import sys
import time
from typing import Any

from raysweep.cluster.runs.ledger import FAILED, RUNNING, STOPPED, Ledger

__all__ = ["Progress", "StatusLine", "clock"]

_PERIOD_S = {True: 0.25, False: 10.0}


class StatusLine:
    """One line on standard error, rewritten on a terminal, now and then a new one elsewhere.

    Args:
        quiet: print nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._live = quiet, sys.stderr.isatty()
        self._start = self._shown = time.monotonic()
        self._text = ""
        self._status: Any = None

    def due(self, *, at_once: bool = False) -> bool:
        """Whether it is time to show something new: a few times a second, or rarely in a file.

        Args:
            at_once: it is too important to wait.
        """
        now = time.monotonic()
        if self._quiet or (now - self._shown < _PERIOD_S[self._live] and not at_once):
            return False
        self._shown = now
        return True

    def say(self, text: str) -> None:
        """Shows what is happening before there is a trial; on a terminal only."""
        if self._live and not self._quiet:
            self._show(text)

    def close(self) -> None:
        """Ends the line."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _show(self, text: str) -> None:
        if not self._live:
            if text != self._text:
                print(text, file=sys.stderr, flush=True)
            self._text = text
            return
        if self._status is None:
            from rich.console import Console

            self._status = Console(stderr=True).status("")
            self._status.start()
        from rich.text import Text

        self._status.update(Text(text, no_wrap=True, overflow="ellipsis"))


class Progress(StatusLine):
    """The line of a search.

    Args:
        num_samples: trials in the whole run; None if the space or the budget decides.
        epochs: that all trials may have together, where a budget decides; None otherwise.
        quiet: print nothing.
        show_metric: show the best validation metric, and the default's.
    """

    def __init__(
        self,
        num_samples: int | None,
        *,
        epochs: float | None = None,
        quiet: bool = False,
        show_metric: bool = True,
    ) -> None:
        super().__init__(quiet=quiet)
        self._unit, self._total, self._show_metric = "trials", num_samples, show_metric
        if epochs is not None:
            self._unit, self._total = "epochs", round(epochs)
        self._done_before: int | None = None
        self._began = False

    def update(self, ledger: Ledger) -> None:
        """Shows the ledger's state, at most a few times a second, and at once the first epoch."""
        if self._done_before is None:
            self._done_before = self._done(ledger)
        first = not self._began and any(t.history for t in ledger)
        self._began = self._began or first
        if self.due(at_once=first):
            self._show(self._line(ledger))

    def _done(self, ledger: Ledger) -> int:
        if self._unit == "epochs":
            return sum(t.epoch for t in ledger)
        return len(ledger) - len(ledger.unfinished())

    def _line(self, ledger: Ledger) -> str:
        counts = {
            status: sum(t.status == status for t in ledger) for status in (RUNNING, STOPPED, FAILED)
        }
        paused = sum(t.paused for t in ledger)
        done = self._done(ledger)
        # What matters most comes first: a narrow terminal cuts the end off.
        parts = [f"{done}/{self._total or '?'} {self._unit}", self._time(done)]
        ranked = ledger.ranked() if self._show_metric else []
        if ranked:
            best = ranked[0].best(ledger.metric, ledger.mode) or {}
            parts.append(f"best {ledger.metric} {best[ledger.metric]:.4f}")
            first = ledger.default
            default = first.best(ledger.metric, ledger.mode) if first else None
            if default:
                parts.append(f"default {default[ledger.metric]:.4f}")
            if ledger.outlook:
                parts.append(f"{ledger.outlook['gain']:.2g} expected of another tenth")
        parts.append(f"{counts[RUNNING] - paused} under way")
        parts += [f"{paused} paused"] if paused else []
        parts += [f"{counts[s]} {s}" for s in (STOPPED, FAILED) if counts[s]]
        return " · ".join(parts)

    def _time(self, done: int) -> str:
        spent = time.monotonic() - self._start
        new = done - (self._done_before or 0)
        if not self._total or new < 2 or done >= self._total:
            return clock(spent)
        return f"{clock(spent)}, about {clock(spent / new * (self._total - done))} left"


def clock(seconds: float) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
