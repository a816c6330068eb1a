"""What a network writes after each epoch reaches TensorBoard, and not the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ray.tune.trainable import trainable as ray_trainable
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raysweep.analysis.tensorboard.writer import TrialWriter
from raysweep.trainables.dataset import Dataset
from raysweep.trainables.ratings.matrix_factorization import MatrixFactorization
from raysweep.trainables.ray_trainable import LearnerTrainable
from raysweep.trainables.sequences.char_rnn import CharRNN
from raysweep.trainables.sequences.config import SequenceConfig
from raysweep.trainables.trial_files import INDEX


def start(learner: Any, dataset: Dataset, folder: Path, **fields: Any) -> LearnerTrainable:
    class Direct(LearnerTrainable):
        def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
            metric = next(iter(learner.metrics))
            super().setup(
                config,
                learner_class=learner,
                arrays=dataset.arrays,
                run_uri=str(folder),
                metric=metric,
            )

    return Direct({"epochs": 2, **fields, INDEX: 0})


def test_samples_come_with_the_report_but_are_not_in_it(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_trainable, "DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))
    dataset = CharRNN.load_data(SequenceConfig(dataset=str(text_file)))
    trial = start(CharRNN, dataset, tmp_path / "run", hidden_size=8)
    results = [trial.step() for _ in range(2)]
    assert all(set(r["texts"]) == {f"sample/temperature {t}" for t in (0.5, 0.8)} for r in results)
    assert results[0]["texts"] != results[1]["texts"]
    assert "→" not in json.dumps(json.loads(results[0]["report"]), ensure_ascii=False)


def test_other_families_write_nothing(
    ratings_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_trainable, "DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))
    trial = start(MatrixFactorization, ratings_dataset, tmp_path / "run", num_factors=2)
    assert trial.step()["texts"] == {}


def test_tensorboard_shows_texts_by_epoch_as_they_are(tmp_path: Path) -> None:
    writer = TrialWriter(tmp_path)
    writer.texts({"sample": "a *b*\n# c"}, 1)
    writer.texts({"sample": "d"}, 2)
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload().Tensors("sample/text_summary")
    texts = [event.tensor_proto.string_val[0].decode() for event in events]
    assert [event.step for event in events] == [1, 2]
    assert texts == ["    a *b*\n    # c", "    d"]
