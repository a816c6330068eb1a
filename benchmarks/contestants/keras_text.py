"""The sentiment networks in Keras 3 on PyTorch, in an environment of its own; `fit`, as its guides.

python benchmarks/contestants/keras_text.py FOLDER ROUNDS BATCHES

FOLDER holds `texts.npz` and `fields.json`, as `benchmarks.sentiment_epoch` writes them. Prints the
seconds of processor time of each of ROUNDS epochs of BATCHES batches (0: all), after one that is
not measured, and the validation accuracy after the last.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras import layers

__all__ = ["build"]


def build(fields: dict[str, Any], table: np.ndarray, length: int) -> keras.Model:
    """The network of `fields`, compiled.

    Args:
        fields: as raysweep's `sentiment` names them.
        table: first word vectors, [vocabulary, embedding size].
        length: words of a text.
    """
    words = layers.Input((length,), dtype="int32")
    values = layers.Embedding(*table.shape, name="words")(words)
    # One draw for all numbers of a word drops whole words.
    values = layers.Dropout(fields["word_dropout"], noise_shape=(None, length, 1))(values)
    values = layers.Dropout(fields["embedding_dropout"])(values)
    if fields["architecture"] == "lstm":
        values = layers.LSTM(fields["lstm_size"])(values)
    else:
        shapes = zip(fields["filter_widths"], fields["num_filters"], strict=True)
        branches = [_branch(fields, width, number)(values) for width, number in shapes]
        values = layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
        values = layers.Dropout(fields["pool_dropout"])(values)
    values = layers.Dense(fields["hidden_size"], activation="relu")(values)
    values = layers.Dropout(fields["dense_dropout"])(values)
    model = keras.Model(words, layers.Dense(2)(values))
    model.get_layer("words").set_weights([table])
    model.compile(
        optimizer=keras.optimizers.Adam(fields["learning_rate"]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _branch(fields: dict[str, Any], width: int, number: int) -> keras.Sequential:
    return keras.Sequential(
        [
            layers.Conv1D(number, width, padding="same", activation="relu"),
            layers.Dropout(fields["conv_dropout"]),
            layers.MaxPooling1D(fields["pooling"]),
            layers.Flatten(),
        ]
    )


def main() -> None:
    """Measures and answers."""
    folder, rounds, batches = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    keras.utils.set_random_seed(0)
    data = np.load(folder / "texts.npz")
    fields = json.loads((folder / "fields.json").read_text())
    model = build(fields, data["table"], data["train_ids"].shape[1])
    size = fields["batch_size"]
    rows = batches * size or len(data["train_labels"])
    seconds = []
    for number in range(rounds + 1):
        chosen = np.random.default_rng(number).permutation(len(data["train_labels"]))[:rows]
        texts, labels = data["train_ids"][chosen], data["train_labels"][chosen]
        start = time.process_time()
        model.fit(texts, labels, batch_size=size, epochs=1, verbose=0)
        seconds.append(time.process_time() - start)
    scores = model.predict(data["val_ids"], batch_size=500, verbose=0)
    accuracy = float((scores.argmax(1) == data["val_labels"]).mean())
    print(json.dumps({"seconds": seconds[1:], "metric": accuracy}))


if __name__ == "__main__":
    main()
