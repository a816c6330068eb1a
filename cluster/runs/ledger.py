"""The ledger of a run: every trial, every epoch's result, every ending, appended as it happens.

It is the run's memory. The searcher asks it what was tried, the scheduler what was reached, the
table and the report what was found; and after a crash it is read back, so that no trial is lost and
none is repeated. A line is one event in JSON; a last line that a crash cut short is dropped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raysweep.core.errors import UserError
from raysweep.core.objectives import Constraint, Objective, judged_by
from raysweep.core.storage import Storage
from raysweep.trainables.learner import is_better

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FAILED", "FINISHED", "RUNNING", "STOPPED", "TRIALS_TABLE", "Ledger", "TrialRecord"]

RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped", "failed"
_FILE = "ledger.jsonl"
TRIALS_TABLE = "trials.parquet"
_UPLOAD_PERIOD_S = 5.0
_ALWAYS = ("trial", "status", "epochs", "time_total_s", "curve", "error")  # columns of any table


def _columns(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as columns of a table: rates of a list one by one, other lists as text."""
    columns: dict[str, Any] = {}
    for name, value in config.items():
        if not isinstance(value, (list, tuple)):
            columns[f"config.{name}"] = value
        elif value and all(isinstance(v, float) for v in value):
            columns |= {f"config.{name}.{i}": v for i, v in enumerate(value, start=1)}
        else:
            columns[f"config.{name}"] = ",".join(map(str, value))
    return columns


@dataclass
class TrialRecord:
    """One trial.

    Attributes:
        index: its number in the run, from 0; trial 0 has the default configuration.
        params: what the searcher chose, by the space's names; empty for the default.
        config: every field of the trainable's configuration.
        status: running (also: interrupted), finished, stopped (by the scheduler, or because it
            broke a constraint) or failed.
        history: one dictionary an epoch, as the trainable reported it.
        error: the last line of what went wrong, for a failed trial; the constraint, for a trial
            that broke one.
        decisions: of a search that pauses trials, why and how far this one was to train each time
            (`number`, `target`, `why`), and how many epochs all trials had had by then (`after`);
            in the order in which they were taken.
    """

    index: int
    params: dict[str, Any]
    config: dict[str, Any]
    status: str = RUNNING
    history: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    decisions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return int(self.history[-1]["epoch"]) if self.history else 0

    @property
    def target(self) -> int | None:
        """The epoch that the trial was last sent to; None where trials are not paused."""
        return int(self.decisions[-1]["target"]) if self.decisions else None

    @property
    def paused(self) -> bool:
        """Whether the trial waits, and may go on."""
        return self.status == RUNNING and self.target is not None and self.epoch >= self.target

    def best(self, metric: str, mode: str) -> dict[str, Any] | None:
        """The result of the best epoch, the first one of equals; None before the first."""
        best: dict[str, Any] | None = None
        for result in self.history:
            if metric not in result:
                continue
            if is_better(result[metric], best[metric] if best else None, mode):
                best = result
        return best


def config_key(config: Mapping[str, Any]) -> str:
    """Equal for equal configurations, whatever the order of their fields."""
    return json.dumps(config, sort_keys=True, default=list)


class Ledger:
    """All trials of a run, in memory and on the run's storage.

    Args:
        storage: the run's folder.
        metric: the metric that trials are judged by.
        mode: "min" or "max".
        read_only: the folder belongs to another process, which may be writing: a last line that is
            not whole is left out, and left where it is.
        objectives: what trials are judged by, the metric first; by default the metric alone.
        constraints: what the best trial has to keep to.

    Attributes:
        outlook: of a search that pauses trials, what it last expected of going on: `gain`, by how
            much better the best value would be after `epochs` more epochs, `rows`, how many results
            that was judged by, and `until`, the gain below which the search was to end, if it did;
            None before anything is expected.

    Raises:
        UserError: a line other than the last one is not readable.
    """

    def __init__(
        self,
        storage: Storage,
        metric: str,
        mode: str,
        *,
        read_only: bool = False,
        objectives: Sequence[Objective] = (),
        constraints: Sequence[Constraint] = (),
    ) -> None:
        self.metric, self.mode = metric, mode
        self.objectives = tuple(objectives) or (Objective(metric, mode),)
        self.constraints = tuple(constraints)
        self.trials: list[TrialRecord] = []
        self.outlook: dict[str, Any] | None = None
        self._num_results = 0
        self._storage = storage
        self._text: list[str] = []
        self._uploaded = time.monotonic()
        self._keys: set[str] = set()
        self._load(read_only)

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self.trials)

    @property
    def default(self) -> TrialRecord | None:
        """The trial of the default configuration, which is the first one; None without it."""
        first = self.trials[0] if self.trials else None
        if first is None or not first.params:
            return first
        return first if first.decisions and first.decisions[0]["why"] == "default" else None

    def has(self, config: Mapping[str, Any]) -> bool:
        """Whether a trial with exactly this configuration exists."""
        return config_key(config) in self._keys

    def unfinished(self) -> list[TrialRecord]:
        """Trials that still have epochs to run."""
        return [t for t in self.trials if t.status == RUNNING]

    def feasible(self, trial: TrialRecord) -> bool:
        """Whether the result of a trial's best epoch is there and keeps to all constraints."""
        best = trial.best(self.metric, self.mode)
        return best is not None and all(each.holds(best) for each in self.constraints)

    def keeps_to_constraints(self, trial: TrialRecord) -> bool:
        """Whether a trial's first epoch broke none: trials are ended by that one."""
        return all(each.holds(result) for result in trial.history[:1] for each in self.constraints)

    def losses(self, result: Mapping[str, Any]) -> tuple[float, ...]:
        """A result's objectives, each as something that is to be small."""
        return tuple(each.loss(result[each.name]) for each in self.objectives)

    def excesses(self, result: Mapping[str, Any]) -> dict[str, float]:
        """How far a result is beyond each constraint, by its text; above 0 if it breaks it."""
        return {str(c): c.excess(float(result[c.name])) for c in self.constraints}

    def ranked(self) -> list[TrialRecord]:
        """Trials that keep to all constraints, the best first; equals in order of their index."""
        judged = [
            (t, b)
            for t in self.trials
            if (b := t.best(self.metric, self.mode)) and self.feasible(t)
        ]
        sign = 1.0 if self.mode == "min" else -1.0
        return [t for t, _ in sorted(judged, key=lambda p: (sign * p[1][self.metric], p[0].index))]

    def add(
        self,
        params: Mapping[str, Any],
        config: Mapping[str, Any],
        decision: Mapping[str, Any] | None = None,
    ) -> TrialRecord:
        """Adds a trial and returns its record; `decision` as in its `decisions`."""
        event = {"event": "trial", "params": dict(params), "config": dict(config)}
        more = {} if decision is None else {"decision": dict(decision)}
        self._append({"index": len(self.trials), **event, **more})
        return self.trials[-1]

    def resume(self, index: int, decision: Mapping[str, Any]) -> None:
        """Notes that a paused trial goes on, also one that ended when its search did."""
        self._append({"index": index, "event": "resume", "decision": dict(decision)})

    def result(self, index: int, result: Mapping[str, Any]) -> bool:
        """Adds an epoch's result; False if that epoch is known already."""
        if int(result["epoch"]) <= self.trials[index].epoch:
            return False
        self._append({"index": index, "event": "result", "result": dict(result)})
        return True

    def expect(self, outlook: Mapping[str, Any]) -> None:
        """Notes what is expected of going on; as in `outlook`."""
        self._append({"event": "outlook", "outlook": dict(outlook)})

    def reconfigure(self, index: int, config: Mapping[str, Any]) -> None:
        """Notes that the scheduler changed a running trial's configuration."""
        self._append({"index": index, "event": "config", "config": dict(config)})

    def end(self, index: int, status: str, error: str = "") -> None:
        """Ends a trial: finished, stopped or failed."""
        self._append({"index": index, "event": "end", "status": status, "error": error})

    def flush(self) -> None:
        """Uploads what an object store does not have yet; a local ledger never lags.

        Of a driver that dies, an object store may lack the last seconds. Nothing is lost by that:
        a trial's state is there, and a trial that goes on from its last epoch ends at once.
        """
        if self._storage.local is None and self._text:
            self._storage.write(_FILE, "".join(self._text))
            self._uploaded = time.monotonic()

    def table(self) -> pd.DataFrame:
        """One row a trial: what became of it, what was chosen, and every field.

        Columns: trial, status, epochs, best_epoch, the metrics of the best epoch, those of the last
        one as `last_…`, time_total_s, curve (the metric after each epoch, a list), error, what the
        searcher chose as `param.…` (none where it was not asked for), and the fields as `config.…`.
        """
        import pandas as pd

        rows = [self._row(t) for t in self.trials]
        return pd.DataFrame(rows, columns=None if rows else list(_ALWAYS))

    def _row(self, trial: TrialRecord) -> dict[str, Any]:
        best = trial.best(self.metric, self.mode) or {}
        last = trial.history[-1] if trial.history else {}
        named = set(judged_by(self.objectives, self.constraints))
        skip = {"epoch", "learning_rate", "time_epoch_s"} - named
        row: dict[str, Any] = {
            "trial": trial.index,
            "status": trial.status,
            "epochs": trial.epoch,
            "best_epoch": best.get("epoch"),
        }
        row |= {k: v for k, v in best.items() if k not in skip}
        row |= {f"last_{k}": v for k, v in last.items() if k not in skip}
        row["time_total_s"] = sum(r.get("time_epoch_s", 0.0) for r in trial.history)
        row["curve"] = [r[self.metric] for r in trial.history if self.metric in r]
        row["error"] = trial.error
        row |= {f"param.{name}": value for name, value in trial.params.items()}
        return row | _columns(trial.config)

    def _append(self, event: dict[str, Any]) -> None:
        self._apply(event)
        line = json.dumps(event, default=list) + "\n"
        if self._storage.local is not None:
            path = self._storage.local / _FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
            return
        self._text.append(line)
        if time.monotonic() - self._uploaded > _UPLOAD_PERIOD_S:
            self.flush()

    def _apply(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "outlook":
            self.outlook = dict(event["outlook"])
            return
        index = int(event["index"])
        if kind == "trial":
            if index != len(self.trials):
                raise ValueError(f"trial {index} follows {len(self.trials)} trials")
            record = TrialRecord(index, dict(event["params"]), dict(event["config"]))
            record.decisions += [self._dated(event["decision"])] if "decision" in event else []
            self.trials.append(record)
            self._keys.add(config_key(event["config"]))
            return
        trial = self.trials[index]
        if kind == "result":
            trial.history.append(dict(event["result"]))
            self._num_results += 1
        elif kind == "resume":
            trial.decisions.append(self._dated(event["decision"]))
            trial.status = RUNNING
        elif kind == "config":
            trial.config = dict(event["config"])
        else:
            trial.status, trial.error = event["status"], event["error"]

    def _dated(self, decision: Mapping[str, Any]) -> dict[str, Any]:
        """A decision with how many epochs all trials had had by then."""
        return {**decision, "after": self._num_results}

    def _load(self, read_only: bool) -> None:
        try:
            blob = self._storage.read(_FILE)
        except FileNotFoundError:
            return
        # A crash can cut the last line short, if only by its line feed.
        lines = blob.decode("utf-8", errors="replace").splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
            if not read_only:
                self._storage.write(_FILE, "".join(lines))
        for number, line in enumerate(lines, start=1):
            try:
                self._apply(json.loads(line))
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise UserError(
                    f"{self._storage.uri}/{_FILE}, line {number} is damaged ({error}); "
                    "cut the file off before that line to go on from there"
                ) from None
        self._text = lines
