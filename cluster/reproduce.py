"""`raysweep reproduce`: trains the published architectures, and sets the results side by side.

What is done is kept: the same command again trains only what is missing. Each result says how long
it took, and the whole says on which machine.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from raysweep.analysis.reference import GROUPS, REFERENCES, Recipe, Reference
from raysweep.cluster.machines.session import ray_session
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.search.confirm import measure_seeds, seeds_request
from raysweep.cluster.search.run import run_search
from raysweep.core.errors import UserError, nearest
from raysweep.core.storage import Storage

if TYPE_CHECKING:
    from raysweep.cluster.features import FeatureResult

__all__ = ["Outcome", "chosen", "hardware", "reproduce", "table_markdown"]

RESULTS = "reproduce.json"


@dataclass(frozen=True)
class Outcome:
    """What a recipe gave.

    Attributes:
        reference, recipe: which.
        data: the data's description, or why there are none.
        command: what trains the same by itself.
        metric: by our name.
        mean, interval: over the seeds, on the test set; None where nothing was trained.
        num_seeds: how many.
        seconds: that training one seed took, on average.
        shortened: what `--quick` changed, in words.
        missing: what is not at hand, and how to get it.
        when: the test set was opened; empty if it was not.
    """

    reference: str
    recipe: str
    data: str = ""
    command: str = ""
    metric: str = ""
    mean: float | None = None
    interval: float | None = None
    num_seeds: int = 0
    seconds: float = 0.0
    shortened: str = ""
    missing: str = ""
    when: str = ""
    extra: dict[str, float] = field(default_factory=dict)


def chosen(group: str) -> list[Reference]:
    """The references of a group, or all; raises UserError for another word."""
    if group not in ("all", *GROUPS):
        raise UserError(f"there are no references called '{group}'{nearest(group, GROUPS)}")
    return [r for r in REFERENCES if group in ("all", r.group)]


def reproduce(
    references: Sequence[Reference],
    folder: Storage,
    *,
    num_seeds: int,
    quick: bool = False,
    address: str | None = None,
    on_outcome: Callable[[Reference, Outcome], None] = lambda *_: None,
    quiet: bool = False,
) -> list[tuple[Reference, Outcome]]:
    """Trains every recipe of the references that has its data, and writes down what came out.

    Args:
        references: as `chosen` gives them.
        folder: where runs, `reproduce.json` and `reproduce.md` go.
        num_seeds: for each recipe, at least 2.
        quick: shorter, where a recipe says how; those that say nothing are left out.
        address: a Ray cluster; None for this machine.
        on_outcome: called after each recipe.
        quiet: no progress lines.
    """
    outcomes: list[tuple[Reference, Outcome]] = []
    with ray_session(address):
        for reference in references:
            for recipe in reference.recipes:
                if quick and recipe.quick is None:
                    continue
                outcome = _outcome(reference, recipe, folder, num_seeds, quick, quiet)
                outcomes.append((reference, outcome))
                on_outcome(reference, outcome)
                _write(folder, outcomes)
    return outcomes


def _outcome(
    reference: Reference,
    recipe: Recipe,
    folder: Storage,
    num_seeds: int,
    quick: bool,
    quiet: bool,
) -> Outcome:
    """One recipe's outcome; data or weights that cannot be had are an outcome, too."""
    try:
        return _train(reference, recipe, recipe.data, folder, num_seeds, quick, quiet)
    except UserError as error:
        missing = str(error)
    if reference.stand_in:
        try:
            data = {**recipe.data, "dataset": reference.stand_in}
            outcome = _train(reference, recipe, data, folder, num_seeds, quick, quiet)
        except UserError:
            pass
        else:
            note = f"on {reference.stand_in} instead, which is not comparable: {missing}"
            return Outcome(**{**asdict(outcome), "missing": note})
    return Outcome(reference.key, recipe.label, missing=missing)


def _train(
    reference: Reference,
    recipe: Recipe,
    data: Mapping[str, Any],
    folder: Storage,
    num_seeds: int,
    quick: bool,
    quiet: bool,
) -> Outcome:
    """Trains a recipe with several seeds and opens the test set, or reads what was written down."""
    read = dict(data)
    if recipe.features:
        made = _features(recipe, folder, check=not recipe.task, quiet=quiet)
        if not recipe.task:
            return _checked(reference, recipe, made)
        read["dataset"] = made.uri
    settings = {**recipe.settings, **((recipe.quick or {}) if quick else {})}
    base = SearchRequest(task=recipe.task, settings=settings, data=read, num_samples=1).checked()
    request = seeds_request(base, [dict(base.settings)], num_seeds)
    run = folder / f"{request.default_name()}{'-refit' * recipe.refit}"
    if run.exists(RESULTS):  # perhaps of another reference, for which we recommend the same
        names = {"reference": reference.key, "recipe": recipe.label}
        return Outcome(**{**json.loads(run.read(RESULTS)), **names})
    learner = request.learner
    whole = learner.load_data(learner.data_class.create(request.data))
    dataset = whole.with_validation() if recipe.refit else whole
    options = RunOptions(pack="off", quiet=quiet, show_metric=not recipe.refit)
    result = run_search(request, run, options, dataset=dataset)
    if not result.complete:
        raise KeyboardInterrupt
    trials = result.ledger.trials
    row = measure_seeds(request, result, whole.test, trials, recipe.refit)
    metric = f"test_{reference.metric}"
    times = [sum(r.get("time_epoch_s", 0.0) for r in t.history) for t in trials]
    outcome = Outcome(
        reference=reference.key,
        recipe=recipe.label,
        data=dataset.description,
        command=_command(recipe, settings, read),
        metric=metric,
        mean=row[metric]["mean"],
        interval=row[metric]["interval_95"],
        num_seeds=num_seeds,
        seconds=sum(times) / len(times),
        shortened=", ".join(f"{k}={_text(v)}" for k, v in (recipe.quick or {}).items() if quick),
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        extra={"train_loss": float(trials[0].history[-1].get("train_loss", float("nan")))},
    )
    run.write(RESULTS, json.dumps(asdict(outcome), indent=1))
    return outcome


def _features(recipe: Recipe, folder: Storage, *, check: bool, quiet: bool) -> FeatureResult:
    from raysweep.cluster.features import run_features
    from raysweep.data.features.job import FeatureRequest

    request = FeatureRequest(**recipe.features)
    words = "-".join(str(v) for v in recipe.features.values())
    return run_features(request, f"{folder.uri}/features-{words}", check=check, quiet=quiet)


def _checked(reference: Reference, recipe: Recipe, made: FeatureResult) -> Outcome:
    """The accuracy of a network's own classifier; no seeds, no training."""
    known = [s for s in ("val", "valid", "test") if s in made.accuracy]
    split = [*known, *made.accuracy][0]
    count = made.index.counts[split]
    share = made.accuracy[split]
    return Outcome(
        reference=reference.key,
        recipe=recipe.label,
        data=f"{count:,} images of {split}",
        command=f"raysweep features {recipe.features['images']} OUT --backbone "
        f"{recipe.features['backbone']} --check",
        metric="accuracy",
        mean=share,
        interval=1.96 * (share * (1.0 - share) / count) ** 0.5,
        seconds=made.seconds,
    )


def _command(recipe: Recipe, settings: dict[str, Any], data: dict[str, Any]) -> str:
    words = ["raysweep", "train", recipe.task]
    words += [w for k, v in data.items() for w in ("--data", f"{k}={_text(v)}")]
    words += [w for k, v in settings.items() for w in ("--set", f"{k}={_text(v)}")]
    return " ".join(words)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def hardware() -> dict[str, Any]:
    """The machine: processor, cores, memory in GB, GPUs, and versions."""
    import psutil
    import torch

    from raysweep.cluster.runs.experiment import package_versions

    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "gpus": gpus,
        "versions": package_versions(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            lines = [line for line in file if line.startswith("model name")]
    except OSError:
        lines = []
    return lines[0].partition(":")[2].strip() if lines else platform.processor() or "unknown"


def _write(folder: Storage, outcomes: Sequence[tuple[Reference, Outcome]]) -> None:
    record = {
        "command": " ".join(["raysweep", *sys.argv[1:]]),
        "hardware": hardware(),
        "results": [
            {"published": r.value, "measured_on": r.measured_on, **asdict(o)} for r, o in outcomes
        ],
    }
    folder.write(RESULTS, json.dumps(record, indent=1))
    folder.write("reproduce.md", table_markdown(outcomes))


def figure(outcome: Outcome) -> str:
    """Mean ± interval, accuracies in percent."""
    if outcome.mean is None or outcome.interval is None:
        return "–"
    if outcome.metric.endswith("accuracy"):
        return f"{100 * outcome.mean:.2f} ± {100 * outcome.interval:.2f}%"
    return f"{outcome.mean:.4f} ± {outcome.interval:.4f}"


def published(reference: Reference) -> str:
    """The published figure, accuracies in percent."""
    accuracy = reference.metric == "accuracy"
    return f"{100 * reference.value:.2f}%" if accuracy else f"{reference.value:g}"


def table_markdown(outcomes: Sequence[tuple[Reference, Outcome]]) -> str:
    """The outcomes as a Markdown table, with the machine and what is missing below."""
    machine = hardware()
    lines = [
        "| network | metric | published | ours, mean ± 95% | how | seeds | seconds a seed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    notes: dict[str, list[str]] = {}
    for reference, outcome in outcomes:
        how = outcome.recipe + (f", shortened: {outcome.shortened}" if outcome.shortened else "")
        seconds = f"{outcome.seconds:.0f}" if outcome.mean is not None else "–"
        lines.append(
            f"| {reference.title} | {reference.metric} | {published(reference)} | "
            f"{figure(outcome)} | {how} | {outcome.num_seeds or '–'} | {seconds} |"
        )
        if outcome.missing:
            notes.setdefault(outcome.missing, []).append(f"{reference.key} ({outcome.recipe})")
    cores, memory = machine["cores"], machine["memory_gb"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    lines += ["", f"{machine['processor']}, {cores} cores, {memory} GB, {gpus}."]
    lines += ["", "Not at hand, or on other data:", ""] if notes else []
    lines += [f"- {', '.join(names)}: {message}" for message, names in notes.items()]
    return "\n".join(lines) + "\n"
