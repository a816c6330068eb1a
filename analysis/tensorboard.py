"""TensorBoard files of a run: each trial's curves, and one HParams row a trial with its best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["TrialWriter"]


class TrialWriter:
    """Writes one trial's event file, anew: what an earlier, interrupted writer left is replaced.

    Args:
        folder: the trial's folder on this machine; TensorBoard shows its name as the run's.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder), flush_secs=5)

    def scalars(self, result: Mapping[str, Any]) -> None:
        """Adds an epoch's numbers as `train/…` and `validation/…` curves over epochs."""
        for name, value in result.items():
            if name != "epoch" and isinstance(value, (int, float)):
                self._writer.add_scalar(_tag(name), value, int(result["epoch"]))

    def finish(self, config: Mapping[str, Any], best: Mapping[str, Any], metric: str) -> None:
        """Adds the HParams row, the best epoch's metric beside the last one's, and closes."""
        from torch.utils.tensorboard.summary import hparams

        values = {f"best/{metric}": best[metric], "best/epoch": best["epoch"]} if best else {}
        fields = {k: _plain(v) for k, v in config.items()}
        writer = self._writer._get_file_writer()
        for summary in hparams(fields, values):
            writer.add_summary(summary)
        for name, value in values.items():
            self._writer.add_scalar(name, value, int(best["epoch"]))
        self._writer.close()

    def close(self) -> None:
        """Closes the file of a trial that is to go on later."""
        self._writer.close()


def _tag(name: str) -> str:
    for prefix, group in (("train_", "train"), ("val_", "validation"), ("time_", "time")):
        if name.startswith(prefix):
            return f"{group}/{name.removeprefix(prefix)}"
    return f"train/{name}"


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
