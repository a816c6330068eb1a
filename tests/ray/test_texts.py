"""Text families under real Ray: searched, confirmed and asked."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from raysweep.cluster.models.words import generate
from raysweep.cluster.runs.options import RunOptions
from raysweep.cluster.runs.request import SearchRequest
from raysweep.cluster.runs.saved_run import open_run
from raysweep.cluster.search.confirm import confirm_run
from raysweep.cluster.search.run import run_search
from raysweep.core.storage import Storage

pytestmark = [pytest.mark.usefixtures("ray"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A word of praise or of blame among neutral ones tells the class."""
    rng = np.random.default_rng(0)
    told = (("bad", "dull", "weak"), ("good", "fine", "great"))
    path = tmp_path_factory.mktemp("texts") / "reviews.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for row in range(300):
            words = rng.choice(["the", "film", "was", "a", "story", "of", "it"], size=12).tolist()
            words[int(rng.integers(12))] = str(rng.choice(told[row % 2]))
            writer.writerow([" ".join(words), ("liked", "disliked")[1 - row % 2]])
    return path


def test_dropout_sites_of_a_sentiment_model_are_searched_and_confirmed(
    reviews: Path, tmp_path: Path
) -> None:
    request = SearchRequest(
        task="sentiment",
        spaces=("dropout_placement",),
        settings={"epochs": 12, "batch_size": 16, "num_filters": 32, "learning_rate": 0.01},
        data={"dataset": str(reviews), "length": 16, "vocabulary_size": 50},
        searcher="random",
        num_samples=3,
    ).checked()
    result = run_search(request, Storage(tmp_path), RunOptions(quiet=True))
    assert result.complete
    best = result.ledger.ranked()[0].best("val_accuracy", "max")
    assert best is not None
    assert best["val_accuracy"] > 0.9, "one word tells the class"
    confirmed = confirm_run(
        open_run(str(tmp_path), ""), top=1, num_seeds=2, options=RunOptions(quiet=True)
    )
    assert confirmed.metric == "test_accuracy"
    assert all(0.0 <= v <= 1.0 for v in confirmed.rows[0]["test_accuracy"]["values"])


def test_a_network_learns_to_write_and_its_samples_reach_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 300)
    request = SearchRequest(
        task="char_rnn",
        settings={"epochs": 3, "hidden_size": 32, "batch_size": 8, "learning_rate": 0.02},
        data={"dataset": str(text)},
        num_samples=1,
    ).checked()
    folder = tmp_path / "run"
    result = run_search(request, Storage(folder), RunOptions(quiet=True))
    losses = [r["val_loss"] for r in result.ledger.trials[0].history]
    assert losses[-1] < losses[0]
    written = generate(open_run(str(folder), ""), "the cat ", 40, temperature=0.0)
    assert len(written) == 40
    assert set(written) <= set("the cat sat on the mat. ")
    events = EventAccumulator(str(folder / "trials" / "00000")).Reload()
    assert any(tag.startswith("sample/") for tag in events.Tags()["tensors"])
