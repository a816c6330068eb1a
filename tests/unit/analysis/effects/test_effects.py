"""Effects of a search's fields: planted ones are found, and others are not made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysweep.analysis.effects.columns import make_columns
from raysweep.analysis.effects.effect import Effect
from raysweep.analysis.effects.estimate import estimate_effects
from raysweep.analysis.effects.plots import plot_effects
from raysweep.analysis.effects.sentences import effect_sentence

FIELDS = ["helping_dropout", "hurting_dropout", "null_dropout", "kind"]
NUM_EPOCHS, STOPPED_AFTER = 4, 1


def _search(seed: int, stop: bool = True) -> tuple[list[dict[str, Any]], list[list[float]]]:
    """A search of 60 trials; two thirds are stopped after an epoch, by their results."""
    rng = np.random.default_rng(seed)
    configs: list[dict[str, Any]] = [dict.fromkeys(FIELDS[:3], 0.0) | {"kind": "plain"}]
    for _ in range(59):
        rates = rng.uniform(0.05, 0.8, 3) * (rng.random(3) < 0.6)
        configs.append(dict(zip(FIELDS[:3], rates.tolist(), strict=True)))
        configs[-1]["kind"] = str(rng.choice(["plain", "fancy"]))
    curves = []
    for config in configs:
        good, bad = config["helping_dropout"], config["hurting_dropout"]
        at_the_end = 0.88 + 0.02 * (1 - (good / 0.4 - 1) ** 2) - 0.03 * bad
        slower = 0.02 * (good + bad)  # dropout costs at first what it gives later
        own = rng.normal(scale=0.002)
        curve = [at_the_end - (0.02 + slower) / epoch**2 + own for epoch in range(1, 5)]
        curves.append([float(v) for v in curve + rng.normal(scale=0.001, size=4)])
    bar = sorted(curve[0] for curve in curves)[-20]
    if stop:
        curves = [c if c[0] >= bar or not k else c[:1] for k, c in enumerate(curves)]
    return configs, curves


@pytest.fixture(scope="module")
def effects() -> dict[str, Effect]:
    return {effect.field: effect for effect in estimate_effects(*_search(0), FIELDS, "max")}


def test_planted_effects_are_named_and_null_ones_are_not(effects: dict[str, Effect]) -> None:
    assert effects["helping_dropout"].verdict in ("helps", "both")
    assert effects["hurting_dropout"].verdict == "hurts"
    assert effects["null_dropout"].verdict == "no measurable difference"
    assert effects["kind"].verdict == "no measurable difference"


def test_the_estimates_are_near_the_truth_also_where_most_trials_were_stopped(
    effects: dict[str, Effect],
) -> None:
    helping, hurting = effects["helping_dropout"], effects["hurting_dropout"]
    assert helping.grid[int(helping.gain.argmax())] == pytest.approx(0.4, abs=0.15)
    truth = 0.02 * (1 - (np.array(helping.grid) / 0.4 - 1) ** 2)
    inside = np.abs(helping.gain - truth) <= helping.half_width + 1e-9
    assert inside.mean() > 0.8
    assert abs(hurting.gain[-1] + 0.03 * hurting.grid[-1]) <= hurting.half_width[-1]


def test_intervals_hold_what_they_promise_over_many_searches() -> None:
    false_claims = missed = 0
    for seed in range(1, 6):
        verdicts = {e.field: e.verdict for e in estimate_effects(*_search(seed), FIELDS, "max")}
        false_claims += sum(verdicts[f] != "no measurable difference" for f in FIELDS[2:])
        missed += sum(verdicts[f] == "no measurable difference" for f in FIELDS[:2])
    assert false_claims <= 2, "of 10, each with a probability of 5%"
    assert missed <= 2, "of 10"


def test_small_metrics_are_as_good_as_large_ones(effects: dict[str, Effect]) -> None:
    configs, curves = _search(0)
    mirrored = estimate_effects(configs, [[-v for v in c] for c in curves], FIELDS, "min")
    for effect in mirrored:
        assert effect.gain == pytest.approx(effects[effect.field].gain, abs=1e-6)


def test_a_diverged_trial_does_not_drown_the_rest() -> None:
    configs, curves = _search(0)
    curves[5] = [-1e9]
    curves[7] = []  # failed
    verdicts = {e.field: e.verdict for e in estimate_effects(configs, curves, FIELDS, "max")}
    assert verdicts["hurting_dropout"] == "hurts"
    assert verdicts["null_dropout"] == "no measurable difference"


def test_few_trials_or_equal_ones_say_nothing() -> None:
    configs, curves = _search(0)
    assert estimate_effects(configs[:11], curves[:11], FIELDS, "max") == []
    assert estimate_effects([configs[0]] * 20, curves[:20], FIELDS, "max") == []


def test_the_same_trials_give_the_same_answer() -> None:
    first, second = (estimate_effects(*_search(3), FIELDS, "max") for _ in range(2))
    assert [e.field for e in first] == [e.field for e in second]
    assert all((a.gain == b.gain).all() for a, b in zip(first, second, strict=True))


def test_sets_of_widths_become_members_and_a_number() -> None:
    configs = [
        {"filter_widths": (5,), "num_filters": (64,), "rates": (0.1, 0.2)},
        {"filter_widths": (3, 5), "num_filters": (16, 16), "rates": (0.1, 0.3)},
    ]
    columns = {c.name: c for c in make_columns(configs, ["filter_widths", "num_filters", "rates"])}
    assert set(columns) == {
        "3 among filter_widths",
        "number of filter_widths",
        "num_filters in all",
        "rates 2",
    }
    assert columns["3 among filter_widths"].values == (False, True)
    assert columns["num_filters in all"].values == (64, 32)


def test_sizes_of_layers_are_no_set_of_choices() -> None:
    configs = [{"hidden_sizes": (100 + 7 * k, 50 + k) if k % 3 else ()} for k in range(30)]
    names = {c.name for c in make_columns(configs, ["hidden_sizes"])}
    assert names == {"hidden_sizes in all", "number of hidden_sizes"}


def test_of_thousands_of_trials_300_evenly_spaced_ones_are_estimated_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class GivenError(Exception):
        """Ends the estimate where it would become slow."""

    def refuse(columns: Any, observations: Any) -> None:
        raise GivenError(columns, observations)

    monkeypatch.setattr("raysweep.analysis.effects.estimate.AdditiveGaussianProcess", refuse)
    configs, curves = _search(0)
    numbered = [{**config, "number": float(k)} for k, config in enumerate(configs * 40)]
    with pytest.raises(GivenError) as given:
        estimate_effects(numbered, curves * 40, ["number", *FIELDS], "max")
    columns_, observations = given.value.args
    assert len(np.unique(observations.trials)) == 300
    numbers = np.array(next(c.values for c in columns_ if c.name == "number"))
    assert (numbers[0], numbers[-1]) == (0, len(numbered) - 1)
    assert np.ptp(np.diff(numbers)) <= 1


def test_ranges_of_ratios_are_even_in_ratios_and_unset_fields_are_nan() -> None:
    configs = [{"l2": v, "size": s} for v, s in ((1e-4, None), (1e-2, 8), (1.0, 16))]
    l2, size = make_columns(configs, ["l2", "size"])
    assert l2.scaled([1e-4, 1e-2, 1.0]) == pytest.approx([0.0, 0.5, 1.0])
    assert l2.reference == 1e-4
    assert np.isnan(size.scaled(size.values)[0])


def test_a_param_under_a_condition_is_a_column_that_is_unset_elsewhere() -> None:
    params = [
        {},
        {"optimizer": "adam", "adam_learning_rate": 0.01},
        {"optimizer": "sgd", "sgd_learning_rate": 0.5},
        {"optimizer": "adam", "adam_learning_rate": 0.02},
    ]
    configs = [{"optimizer": "adam", "learning_rate": 0.005}]
    configs += [
        {"optimizer": p["optimizer"], "learning_rate": p[f"{p['optimizer']}_learning_rate"]}
        for p in params[1:]
    ]
    rule, adam = make_columns(configs, ["optimizer", "learning_rate"], params)
    assert rule.values == ("adam", "adam", "sgd", "adam")
    assert adam.name == "adam_learning_rate", "one value of sgd's tells nothing"
    assert adam.values == (None, 0.01, None, 0.02)
    assert adam.reference in (0.01, 0.02)
    assert [c.name for c in make_columns(configs, ["learning_rate"])] == ["learning_rate"]


def _effect(field: str, grid: Any, gain: Any, half: Any, reference: Any = 0.0) -> Effect:
    arrays = (np.array(gain), np.array(half))
    return Effect(field, tuple(grid), reference, *arrays, tuple(grid), False)


@pytest.mark.parametrize(
    ("effect", "metric", "sentence"),
    [
        (
            _effect(
                "word_dropout", [0.0, 0.2, 0.4, 0.8], [0, 0.005, 0.006, -0.02], [0, *[0.004] * 3]
            ),
            "val_accuracy",
            "word_dropout helps from 0.2 to 0.4: at 0.4, val_accuracy is 0.60 ± 0.40 points "
            "better; hurts at 0.8: at 0.8, val_accuracy is 2.00 ± 0.40 points worse than with none",
        ),
        (
            _effect("embedding_source", ["random", "glove"], [0, 0.1], [0, 0.05], "random"),
            "val_loss",
            "embedding_source helps as glove: at glove, val_loss is 0.1000 ± 0.0500 better than "
            "at random, the default",
        ),
        (
            _effect("3 among filter_widths", [False, True], [0, 0.01], [0, 0.002], False),
            "val_accuracy",
            "3 among filter_widths helps: val_accuracy is 1.00 ± 0.20 points better than without",
        ),
        (
            _effect("pool_dropout", [0.0, 0.5], [0, 0.001], [0, 0.003]),
            "val_accuracy",
            "pool_dropout: no measurable difference; between -0.20 and +0.40 points better than "
            "with none",
        ),
    ],
)
def test_sentences_say_the_figures(effect: Effect, metric: str, sentence: str) -> None:
    assert effect_sentence(effect, metric) == sentence


def test_a_certain_slope_beside_the_reference_is_no_verdict() -> None:
    effect = _effect("l2", [0.1, 0.2, 0.4], [0.02, 0.001, 0], [0.03, 0.0005, 0], 0.4)
    assert effect.verdict == "no measurable difference"
    assert effect_sentence(effect, "val_loss").startswith("l2: no measurable difference; between")


def test_the_figure_of_a_sentence_is_one_that_is_certain() -> None:
    effect = _effect("l2", [0.1, 0.2, 0.4], [0.02, 0.018, 0], [0.03, 0.005, 0], 0.4)
    assert effect_sentence(effect, "val_loss") == (
        "l2 helps at 0.2: at 0.2, val_loss is 0.0180 ± 0.0050 better than at 0.4, the default"
    )


def test_values_on_both_sides_of_the_reference_are_two_ranges() -> None:
    gain = [-0.02, -0.015, 0, -0.01, -0.02]
    effect = _effect("l2", [0.1, 0.2, 0.3, 0.4, 0.5], gain, [0.001] * 5, 0.3)
    assert effect_sentence(effect, "val_loss").startswith("l2 hurts from 0.1 to 0.2 and from 0.4:")


def test_a_picture_of_effects(tmp_path: Path, effects: dict[str, Effect]) -> None:
    from PIL import Image

    path = tmp_path / "effects.png"
    plot_effects(list(effects.values()), "val_accuracy", path)
    with Image.open(path) as image:
        assert image.width > 900
        colors = image.convert("RGB").getcolors(1 << 24)
    assert colors is not None
    assert len(colors) > 50, "an empty picture has a handful"
