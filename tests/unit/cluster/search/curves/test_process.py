"""The Gaussian process over curves: its gradient, and what it predicts."""

from __future__ import annotations

import numpy as np
from scipy.optimize import approx_fprime

from raysweep.cluster.search.curves import process
from raysweep.cluster.search.curves.process import CurveProcess, Rows

FIELDS = np.array([0, 1, 1, 2])  # the second param has two features


def _rows(count: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    trials = np.arange(count) // 2
    features = rng.random((count, len(FIELDS)))[trials]
    return Rows(features, trials, rng.random(count))


def test_the_gradient_is_that_of_the_posterior_density(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    taken = {}

    def instead(objective, start, **options):  # type: ignore[no-untyped-def]
        taken["objective"] = objective
        return type("Found", (), {"x": start})

    monkeypatch.setattr(process, "minimize", instead)
    rows = _rows(14, 0)
    z = np.random.default_rng(1).standard_normal(14)
    CurveProcess(FIELDS).fit(rows, z)
    theta = CurveProcess(FIELDS).theta + 0.3
    numeric = approx_fprime(theta, lambda t: taken["objective"](t)[0], 1e-6)
    np.testing.assert_allclose(taken["objective"](theta)[1], numeric, rtol=1e-3, atol=1e-3)


def test_a_fit_makes_the_rows_more_probable() -> None:
    rows = _rows(40, 2)
    z = np.sin(5 * rows.features[:, 0]) + rows.times
    z = (z - z.mean()) / z.std()
    asked = Rows(rows.features[::2], np.full(20, -1), rows.times[::2])
    fitted = CurveProcess(FIELDS)
    errors = []
    for _ in range(2):
        half = Rows(rows.features[1::2], rows.trials[1::2], rows.times[1::2])
        mean, _sd = fitted.condition(half, z[1::2]).at(asked)
        errors.append(float(((mean - z[::2]) ** 2).mean()))
        fitted.fit(half, z[1::2], steps=50)
    assert errors[1] < errors[0]


def test_the_posterior_is_that_of_a_normal_distribution() -> None:
    known, asked = _rows(10, 3), _rows(4, 4)
    z = np.random.default_rng(5).standard_normal(10)
    curves = CurveProcess(FIELDS)
    noise = np.exp(curves.theta[3 + 4]) + 1e-6
    inverse = np.linalg.inv(curves.kernel(known, known) + noise * np.eye(10))
    cross = curves.kernel(known, asked)
    mean, sd = curves.condition(known, z).at(asked)
    np.testing.assert_allclose(mean, cross.T @ inverse @ z, atol=1e-8)
    variance = np.diag(curves.kernel(asked, asked) - cross.T @ inverse @ cross)
    np.testing.assert_allclose(sd, np.sqrt(variance), atol=1e-6)


def test_a_trial_says_more_of_itself_than_of_an_equal_one() -> None:
    one = Rows(np.full((1, 4), 0.5), np.array([7]), np.array([0.3]))
    same = Rows(np.full((2, 4), 0.5), np.array([7, 8]), np.ones(2))
    _mean, sd = CurveProcess(FIELDS).condition(one, np.array([1.0])).at(same)
    assert sd[0] < sd[1]
