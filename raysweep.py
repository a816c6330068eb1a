"""raysweep from Python: search, open a run, ask its best model. Results are pandas data frames.

    import raysweep

    run = raysweep.tune("matrix_factorization", ["l2", "embedding_size"], num_samples=30)
    run.trials          # a row a trial
    run.effects()       # what each field did, with 95% intervals
    raysweep.predict(run, [("196", "242")])

What a command does, the function of that name does; the same arguments resume the same run.
"""

from __future__ import annotations

from cluster.interface import Run, load_run, predict, tune
from data.errors import UserError

__all__ = ["Run", "UserError", "load_run", "predict", "tune"]
