"""Earlier runs for the searcher that reads curves, from their ledgers into the new run's folder.

What is taken over is written into warm_start.jsonl when the run is made, so that the run resumes as
it would have gone on, whatever has become of the earlier runs since.
"""

from __future__ import annotations

from collections.abc import Sequence

from raysweep.cluster.runs.experiment import EXPERIMENT
from raysweep.cluster.runs.ledger import Ledger
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import SavedRun, open_run
from raysweep.cluster.search.curves.encoding import Encoder
from raysweep.cluster.search.curves.transfer import (
    EarlierRun,
    EarlierTrial,
    adopt,
    dump,
    load,
    reached,
)
from raysweep.cluster.search.warm_start import notes_on, nothing_in_common, refuse
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage

__all__ = ["CURVES", "earlier_curves", "trust_notes", "written_curves"]

CURVES = "warm_start.jsonl"


def earlier_curves(
    request: SearchRequest, storage: Storage, fingerprint: str
) -> tuple[list[EarlierRun], list[str]]:
    """Earlier runs with their curves: as the run wrote them down, or else read, and written down.

    Of each trial with a result counts the configuration as far as it has fields of the space, what
    lies outside a range at its nearest end, and the best value so far where trials pause.

    Args:
        request: the search, already `checked()`.
        storage: its folder; earlier runs are looked for beside it.
        fingerprint: of its data.

    Returns:
        the runs; and notes for people.

    Raises:
        UserError: as `earlier_results`.
    """
    if storage.exists(EXPERIMENT):
        return written_curves(storage), []
    if not request.warm_start:
        return [], []
    encoder = Encoder(request.suggest(), request.seed)
    runs: list[EarlierRun] = []
    notes: list[str] = []
    for name in request.warm_start:
        run = open_run(name, storage.uri.rpartition("/")[0])
        refuse(request, run, name)
        taken = _curves(request, run)
        if not taken.trials:
            raise UserError(nothing_in_common(request, name))
        runs.append(taken.fitted(encoder, request.mode))
        notes.append(f"warm start: {len(taken.trials)} trials' curves of {name} enter the model")
        notes += notes_on(request, run, name, fingerprint)
    storage.write(CURVES, dump(runs))
    return runs, notes


def written_curves(storage: Storage) -> list[EarlierRun]:
    """Earlier runs as a run wrote them down when it was made; none where it did not."""
    return load(storage.read(CURVES).decode()) if storage.exists(CURVES) else []


def _curves(request: SearchRequest, run: SavedRun) -> EarlierRun:
    suggest = request.suggest()
    asked = run.request.settings.get("epochs") if run.request.settings else None
    max_t = max([int(asked or 1), *(trial.epoch for trial in run.ledger)])
    trials = []
    for trial in run.ledger:
        if trial.best(request.metric, request.mode) is None:
            continue
        # What was not searched then had a value all the same: the configuration holds it.
        params = adopt(suggest, {**trial.config, **trial.params})
        if params:
            values = reached(trial.history, request.metric, request.mode, max_t)
            trials.append(EarlierTrial(trial.index, params, values))
    return EarlierRun(run.storage.uri, max_t, trials)


def trust_notes(ledger: Ledger, runs: Sequence[EarlierRun]) -> list[str]:
    """What became of the weight of earlier runs' curves, for people; nothing where none is known.

    Args:
        ledger: of the search.
        runs: of `earlier_curves`.
    """
    decisions = [d for trial in ledger for d in trial.decisions if "trust" in d]
    if not runs or not decisions:
        return []
    last = max(decisions, key=lambda d: int(d["number"]))
    shares = (
        f"{len(runs) * weight:.2f} for {run.run.rpartition('/')[2]}"
        for run, weight in zip(runs, last["trust"], strict=True)
    )
    return [f"warm start: weight in the end (1 at first, 0: no use) {', '.join(shares)}"]
