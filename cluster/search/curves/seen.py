"""The future that a run's search saw last, rebuilt from its ledger. No Ray."""

from __future__ import annotations

from raysweep.cluster.runs.saved_run import SavedRun
from raysweep.cluster.search.curves.earlier import written_curves
from raysweep.cluster.search.curves.plan import CurvePlan
from raysweep.core.errors import UserError

__all__ = ["predicted_finals"]


def predicted_finals(run: SavedRun) -> dict[int, tuple[float, float, float]]:
    """Where a run's paused trials would end if each were trained whole.

    Args:
        run: any run; it is only read.

    Returns:
        by the trials' indexes, the best value expected and the ends of a 95% interval, see
        `Outlook.finals`; nothing for a run that pauses no trials, or whose space is not at hand.
    """
    request = run.request
    if request.budget is None or not any(trial.decisions for trial in run.ledger):
        return {}
    try:
        suggest, max_t = request.suggest(), request.config({}).epochs
    except UserError:  # the user's own space, or a package's that is not installed here
        return {}
    plan = CurvePlan(
        *(run.ledger, suggest, request.seed, max_t, request.complete),
        budget=request.budget,
        deterministic=request.deterministic,
        earlier=written_curves(run.storage),
    )
    return plan.finals()
