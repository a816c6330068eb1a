"""`raysweep report`: gathers what is known of runs, and writes the page, its text and pictures."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raysweep.cluster.runs.experiment import read_experiment
from raysweep.cluster.runs.ledger import STOPPED, TRIALS_TABLE
from raysweep.cluster.runs.saved_run import CONFIRM
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage
from raysweep.core.targets import is_target

if TYPE_CHECKING:
    from raysweep.analysis.report.build import Subject
    from raysweep.analysis.report.stages import Stage
    from raysweep.analysis.report.trials import Trials
    from raysweep.cluster.runs.saved_run import SavedRun

Finals = Mapping[int, tuple[float, float, float]]

__all__ = ["is_complete", "run_subject", "run_trials", "write_report"]


def write_report(
    runs: Sequence[SavedRun],
    folder: Storage | None = None,
    *,
    finals: Callable[[SavedRun], Finals] | None = None,
) -> str:
    """Writes `report.html`, `report.md`, pictures and the tables that all figures come from.

    Args:
        runs: one or more; several are compared.
        folder: where to; by default `report/` in the run, or beside the runs for several.
        finals: tells where the paused trials of a run would end; see `predicted_finals`.

    Returns:
        The address of the HTML page.

    Raises:
        UserError: two runs have the same name.
    """
    from raysweep.analysis.report.build import build_page

    names = [run.storage.name for run in runs]
    if len(set(names)) < len(names):
        raise UserError(f"the runs {', '.join(names)} are to be compared, but names occur twice")
    subjects = [run_subject(run, finals(run) if finals else {}) for run in runs]
    page = build_page(subjects)
    folder = folder or _folder(runs, names)
    for subject, name in zip(subjects, names, strict=True):
        table = TRIALS_TABLE if len(runs) == 1 else f"{name}.{TRIALS_TABLE}"
        folder.write(table, _as_parquet(subject.trials.table))
    for picture in page.pictures():
        folder.write(f"{picture.name}.png", picture.png)
    folder.write("report.md", page.markdown())
    folder.write("report.html", page.html())
    return f"{folder.uri}/report.html"


def run_subject(run: SavedRun, finals: Finals | None = None) -> Subject:
    """A run as the report takes it.

    Args:
        run: any run.
        finals: where its paused trials would end; see `predicted_finals`.
    """
    from raysweep.analysis.reference import references_for
    from raysweep.analysis.report.build import Subject
    from raysweep.analysis.report.trials import RunFacts

    request = run.request
    trials = run_trials(run)
    try:
        confirmed: dict[str, Any] | None = json.loads(run.storage.read(CONFIRM))
    except FileNotFoundError:
        confirmed = None
    facts = RunFacts(
        name=run.storage.name,
        questions=(
            *(_question(space) for space in request.spaces),
            *(f"Which value is best: {text}?" for text in request.search),
        ),
        experiment=read_experiment(run.storage),
        confirmed=confirmed,
        complete=is_complete(run),
        stages=tuple(_stages(run)),
        finals=finals or {},
        outlook=run.ledger.outlook,
    )
    dataset = str(request.data.get("dataset", ""))
    references = references_for(request.task, dataset, request.settings)
    return Subject(facts, trials, references)


def _stages(run: SavedRun) -> list[Stage]:
    """What trials of a search that pauses them were sent to train, in order."""
    from raysweep.analysis.report.stages import Stage

    stages = []
    for trial in run.ledger:
        start = 0
        for decision in trial.decisions:
            target, (middle, *ends) = int(decision["target"]), decision.get("final") or [None]
            stage = Stage(
                trial=trial.index,
                after=decision["after"],
                start=start,
                end=max(start, min(target, trial.epoch)),
                why=decision["why"],
                final=(middle, *ends) if ends else None,
                best=decision.get("best"),
            )
            stages.append((decision["number"], stage))
            start = target
    return [stage for _, stage in sorted(stages, key=lambda numbered: numbered[0])]


def _question(space: str) -> str:
    """What a space is to find out; of the user's own only its name is certain to be known."""
    from raysweep.search_spaces import get_space

    if not is_target(space):
        with contextlib.suppress(UserError):  # of a package that is not installed any more
            return get_space(space).question
    return f"Which values of {space.rpartition(':')[2]} are best?"


def run_trials(run: SavedRun) -> Trials:
    """The run's table, as it would be read from `trials.parquet` now."""
    import pandas as pd

    from raysweep.analysis.report.trials import Trials

    if len(run.ledger) or not run.storage.exists(TRIALS_TABLE):
        blob = _as_parquet(run.ledger.table())
    else:  # the ledger was not kept; the table tells all that a report needs
        blob = run.storage.read(TRIALS_TABLE)
    table = pd.read_parquet(io.BytesIO(blob))
    table.attrs["searcher"] = run.request.searcher if run.request.searches else ""
    if len(run.ledger):
        table.attrs["has_default"] = run.ledger.default is not None
    request = run.request
    return Trials(
        table,
        request.metric,
        request.mode,
        run.config_class,
        request.objectives,
        request.constraints,
    )


def is_complete(run: SavedRun) -> bool:
    """Whether every trial that was asked for is over."""
    if not len(run.ledger):
        return run.storage.exists(TRIALS_TABLE)
    if run.ledger.unfinished():
        return False
    if (epochs := run.request.max_epochs) is not None:
        # Trials that were paused end when their search does.
        if run.ledger.outlook and "until" in run.ledger.outlook:
            return True
        ended = any(t.status == STOPPED and not t.error for t in run.ledger)
        return ended or sum(t.epoch for t in run.ledger) >= epochs
    wanted = run.request.num_samples
    return wanted is None or len(run.ledger) >= wanted


def _as_parquet(table: Any) -> bytes:
    blob = io.BytesIO()
    table.to_parquet(blob, index=False)
    return blob.getvalue()


def _folder(runs: Sequence[SavedRun], names: Sequence[str]) -> Storage:
    if len(runs) == 1:
        return runs[0].storage / "report"
    address, mark, query = runs[0].storage.uri.partition("?")
    parent = address.rsplit("/", 1)[0]
    return Storage(f"{parent}/report-{'-'.join(names)}{mark}{query}")
