"""The report's section on several objectives, from a table alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from raysweep.analysis.report.sections.front import front
from raysweep.analysis.report.trials import Trials
from raysweep.core.objectives import Constraint, Objective
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorizationConfig

OBJECTIVES = (Objective("val_rmse", "min"), Objective("num_parameters", "min"))


def planted() -> Trials:
    """The default and three trials on the front, one beaten, one without a result."""
    values = [(0.95, 900), (0.9, 800), (0.8, 1000), (0.7, 2000), (0.85, 1500), (np.nan, np.nan)]
    rows = []
    for index, (rmse, size) in enumerate(values):
        config = MatrixFactorizationConfig(num_factors=4 + index, epochs=1).to_dict()
        row = {"trial": index, "status": "finished", "epochs": 1, "time_total_s": 1.0}
        row |= {"val_rmse": rmse, "num_parameters": size, "curve": [rmse], "error": ""}
        rows.append(row | {f"config.{k}": v for k, v in config.items()})
    table = pd.DataFrame(rows)
    return Trials(table, "val_rmse", "min", MatrixFactorizationConfig, OBJECTIVES)


def test_the_section_names_the_front_and_draws_it() -> None:
    (section,) = front(planted())
    assert section.title == "3 of 6 trials are on the Pareto front of val_rmse and num_parameters"
    rows = [[str(cell) for cell in row] for row in section.grids[0].rows]
    assert [row[:3] for row in rows] == [
        ["trial 3", "0.7", "2,000"],
        ["trial 2", "0.8", "1,000"],
        ["trial 1", "0.9", "800"],
    ]
    assert [picture.name for picture in section.pictures] == ["front", "hypervolume"]
    assert any("The default is not on the front" in s for s in section.sentences)
    # The worst of the front and the default are 0.95 and 2,000; a tenth of 0.25 and 1,200 more.
    assert "val_rmse 0.975, num_parameters 2.12e+03" in section.notes[0]


def test_what_breaks_a_constraint_is_left_out() -> None:
    trials = replace(planted(), constraints=(Constraint("num_parameters", "<=", 1500.0),))
    (section,) = front(trials)
    assert [str(row[0]) for row in section.grids[0].rows] == ["trial 2", "trial 1"]
    assert any(note.endswith("num_parameters<=1500 are left out: 1.") for note in section.notes)
    assert trials.best == 2


def test_one_metric_has_no_section_and_no_result_no_front() -> None:
    assert front(replace(planted(), objectives=OBJECTIVES[:1])) == []
    nothing = replace(planted(), constraints=(Constraint("num_parameters", "<", 1.0),))
    assert [section.grids for section in front(nothing)] == [()]
