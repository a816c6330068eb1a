"""What objectives and constraints name is checked before Ray starts."""

from __future__ import annotations

from typing import Any

import pytest

from raysweep.cluster.runs.objectives.goals import check_goals
from raysweep.cluster.runs.options import read_options
from raysweep.cluster.runs.request import SearchRequest
from raysweep.core.errors import UserError
from raysweep.core.objectives import Constraint, Objective
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization


def asked(**fields: Any) -> SearchRequest:
    given = {"task": "matrix_factorization", "spaces": ["l2"], "num_samples": 4, **fields}
    return read_options(given)[0]


def test_several_objectives_and_constraints_are_written_down_in_one_way() -> None:
    request = asked(
        objective=["val_rmse", " num_parameters"], constraint=["num_parameters <= 2000000"]
    )
    assert request.objective == ("val_rmse:min", "num_parameters:min")
    assert request.constraint == ("num_parameters<=2000000",)
    assert request.metric == "val_rmse"
    assert request.objectives == (Objective("val_rmse", "min"), Objective("num_parameters", "min"))
    assert request.constraints == (Constraint("num_parameters", "<=", 2e6),)


def test_one_objective_is_the_metric_and_names_the_same_run() -> None:
    one = asked(objective="val_mae")
    assert one == asked(metric="val_mae")
    assert one.default_name() == asked(metric="val_mae").default_name()
    assert one.objectives == (Objective("val_mae", "min"),)


def test_an_older_request_keeps_its_identity() -> None:
    assert not {"objective", "constraint"} & asked().identity().keys()
    assert asked(constraint=["val_rmse<2"]).default_name() != asked().default_name()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": ["val_rmse", "num_params"]}, r"did you mean 'num_parameters'\?"),
        ({"objective": ["val_rsme"]}, r"did you mean 'val_rmse'\?"),
        ({"objective": ["test_rmse"]}, "must not see the test set"),
        ({"objective": ["val_rmse:max"]}, "val_rmse is better when it is small; write val_rmse"),
        ({"objective": ["val_rmse", "val_rmse:min"]}, "val_rmse is given twice"),
        ({"objective": ["num_parameters", "val_rmse"]}, "name a validation metric before it"),
        ({"objective": ["val_rmse"], "metric": "val_mae"}, "leave --metric out"),
        ({"constraint": ["latencyms<5"]}, r"did you mean 'latency_ms'\?"),
        ({"constraint": ["test_rmse<5"]}, "must not see the test set"),
        ({"constraint": ["latency_ms=5"]}, "is not NAME<=NUMBER"),
        (
            {"objective": ["val_rmse", "latency_ms"], "scheduler": "hyperband"},
            "use --scheduler asha or none",
        ),
    ],
)
def test_what_cannot_be_judged_by_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        asked(**fields)


def test_a_measured_objective_is_small_when_it_is_good_unless_told_otherwise() -> None:
    def modes(*objective: str) -> tuple[str, ...]:
        return check_goals(MatrixFactorization, ("", ""), objective, ())[2]

    assert modes("val_rmse", "latency_ms") == ("val_rmse:min", "latency_ms:min")
    assert modes("val_rmse", "latency_ms:max") == ("val_rmse:min", "latency_ms:max")
