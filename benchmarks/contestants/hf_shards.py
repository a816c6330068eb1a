"""A head on shards of features read by Hugging Face's datasets, in an environment of its own.

python benchmarks/contestants/hf_shards.py FOLDER ROUNDS EPOCHS

FOLDER holds `head.json` and, in `lists/`, `train-*.parquet` and `valid-*.parquet`. The shards are
streamed, shuffled through a buffer and batched by a DataLoader, as the guide "Use with PyTorch"
shows. Prints the seconds of processor time of each of ROUNDS rounds of EPOCHS epochs, after one
that is not measured, and the validation accuracy.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import nn
from torch.utils.data import DataLoader

_BUFFER = 4096


def _read(folder: Path, split: str) -> Any:
    files = {split: [str(path) for path in sorted((folder / "lists").glob(f"{split}-*"))]}
    rows = datasets.load_dataset("parquet", data_files=files, split=split, streaming=True)
    return rows.select_columns(["features", "label"])


def main() -> None:
    """Measures and answers."""
    folder, rounds, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    fields = json.loads((folder / "head.json").read_text())
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train = _read(folder, "train").shuffle(seed=0, buffer_size=_BUFFER).with_format("torch")
    loader = DataLoader(train, batch_size=fields["batch_size"])
    net = nn.Sequential(
        nn.Linear(fields["width"], fields["hidden"]),
        nn.ReLU(),
        nn.Linear(fields["hidden"], fields["classes"]),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=fields["learning_rate"])
    seconds = []
    for number in range((rounds + 1) * epochs):
        start = time.process_time()
        train.set_epoch(number)
        for batch in loader:
            loss = nn.functional.cross_entropy(
                net(batch["features"].float()), batch["label"].long()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.process_time() - start)
    valid = DataLoader(_read(folder, "valid").with_format("torch"), batch_size=512)
    right, count = 0, 0
    with torch.inference_mode():
        for batch in valid:
            right += int((net(batch["features"].float()).argmax(1) == batch["label"]).sum())
            count += len(batch["label"])
    sums = [sum(seconds[k : k + epochs]) for k in range(epochs, len(seconds), epochs)]
    print(json.dumps({"seconds": sums, "metric": right / count}))


if __name__ == "__main__":
    main()
