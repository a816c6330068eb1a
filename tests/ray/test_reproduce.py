"""Published results beside ours: what has data is trained once, what has none is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raysweep.analysis.reference import REFERENCES, Recipe, Reference
from raysweep.cluster.reproduce import chosen, reproduce, table_markdown
from raysweep.cluster.runs.request import SearchRequest
from raysweep.core.errors import UserError
from raysweep.core.storage import Storage

pytestmark = [pytest.mark.usefixtures("ray"), pytest.mark.timeout(180)]
SHORT = {"epochs": 2, "batch_size": 64, "num_factors": 4}


def references(table: str) -> list[Reference]:
    here = Recipe("as published", "matrix_factorization", SHORT, {"dataset": table}, quick={})
    quick = Recipe("longer", "matrix_factorization", SHORT, {"dataset": table})
    gone = Recipe(
        "as published", "matrix_factorization", SHORT, {"dataset": "no/such.csv"}, quick={}
    )
    rest = ("mse", 0.8, "its own validation set")
    return [
        Reference("here", "ratings", "factors", *rest, (here, quick)),
        Reference("gone", "ratings", "factors of nothing", *rest, (gone,)),
        Reference("other", "ratings", "factors", *rest, (gone,), stand_in=table),
    ]


def test_ours_stand_beside_the_published_and_missing_data_are_named(
    tmp_path: Path, ratings_csv: Path
) -> None:
    folder = Storage(tmp_path)
    results = reproduce(references(str(ratings_csv)), folder, num_seeds=2, quick=True, quiet=True)
    outcomes = [outcome for _, outcome in results]
    assert [o.recipe for o in outcomes] == ["as published"] * 3, "quick leaves the longer one out"
    here, gone, other = outcomes
    assert here.mean is not None
    assert here.interval is not None
    assert here.metric == "test_mse"
    assert 0.0 < here.mean < 5.0
    assert here.seconds > 0.0
    assert gone.mean is None
    assert "no/such.csv" in gone.missing
    assert other.mean == here.mean
    assert "instead" in other.missing
    record = json.loads((tmp_path / "reproduce.json").read_text())
    assert record["hardware"]["cores"] >= 1
    assert [r["published"] for r in record["results"]] == [0.8] * 3
    text = (tmp_path / "reproduce.md").read_text()
    assert text == table_markdown(results)
    assert f"| 0.8 | {here.mean:.4f} ± {here.interval:.4f} |" in text
    assert "- gone (as published): " in text


def test_the_same_again_trains_nothing(tmp_path: Path, ratings_csv: Path) -> None:
    folder = Storage(tmp_path)
    first = reproduce(references(str(ratings_csv))[:1], folder, num_seeds=2, quiet=True)
    ledgers = {p: p.read_bytes() for p in tmp_path.rglob("ledger.jsonl")}
    again = reproduce(references(str(ratings_csv))[:1], folder, num_seeds=2, quiet=True)
    assert [o for _, o in again] == [o for _, o in first]
    assert {p: p.read_bytes() for p in tmp_path.rglob("ledger.jsonl")} == ledgers


def test_every_recipe_is_a_valid_configuration() -> None:
    keys = [reference.key for reference in REFERENCES]
    assert len(keys) == len(set(keys)) >= 13
    assert {r.group for r in REFERENCES} == {"ratings", "text", "images"}
    for reference in REFERENCES:
        assert reference.recipes[0].quick is not None, "each has a quick form"
        for recipe in reference.recipes:
            if recipe.task:
                settings = {**recipe.settings, **(recipe.quick or {})}
                request = SearchRequest(task=recipe.task, settings=settings, num_samples=1)
                data = request.learner.data_class.create(recipe.data)
                config = request.learner.config_class.create(settings)
                request.learner.check(config, data)


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'text'"):
        chosen("texts")
