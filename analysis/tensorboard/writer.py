"""TensorBoard files of a run: each trial's curves and HParams row, and the search's pictures."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FIGURES", "TrialWriter", "figure_events"]

FIGURES = "events.out.tfevents.figures"


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

    def texts(self, texts: Mapping[str, str], epoch: int) -> None:
        """Adds texts by name, shown as they are (TensorBoard would read them as Markdown)."""
        for name, text in texts.items():
            lines = text.replace("\r", "").split("\n")
            self._writer.add_text(name, "\n".join(f"    {line}" for line in lines), epoch)

    def row(
        self, name: str, config: Mapping[str, Any], best: Mapping[str, Any], metric: str
    ) -> None:
        """Adds the trial's HParams row.

        Args:
            name: the trial's name in the row.
            config: every field of the configuration.
            best: the best epoch's result; empty for a trial without one.
            metric: the metric that the search goes by; the row has its best and its last value.
        """
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2

        fields = {k: _plain(v) for k, v in config.items()}
        if best:
            self._writer.add_scalar(f"best/{metric}", best[metric], int(best["epoch"]))
            self._writer.add_scalar("best/epoch", best["epoch"], int(best["epoch"]))
        writer = self._writer._get_file_writer()
        writer.add_summary(_experiment(fields, metric))
        writer.add_summary(summary_v2.hparams_pb(fields, trial_id=name))
        end = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS if best else api_pb2.STATUS_FAILURE,
            end_time_secs=time.time(),
        )
        writer.add_summary(_hparams_summary("session_end_info", session_end_info=end))

    def close(self) -> None:
        """Closes the file of a trial that has ended, or is to go on later."""
        self._writer.close()


def figure_events(figures: Mapping[str, bytes], step: int) -> bytes:
    """An event file of pictures, for `FIGURES` in a folder of its own; it replaces an earlier one.

    Args:
        figures: PNG files by their names in TensorBoard.
        step: that they are shown at: the number of trials.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    now, buffer = time.time(), io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for name, png in figures.items():
        width, height = struct.unpack(">II", png[16:24])  # of the header, as PNG defines it
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        writer.write(Event(wall_time=now, step=step, summary=summary).SerializeToString())
    return buffer.getvalue()


def _tag(name: str) -> str:
    for prefix, group in (("train_", "train"), ("val_", "validation"), ("time_", "time")):
        if name.startswith(prefix):
            return f"{group}/{name.removeprefix(prefix)}"
    return f"train/{name}"


def _experiment(fields: Mapping[str, Any], metric: str) -> Any:
    """The columns of the HParams table, with the fields' true types."""
    from tensorboard.plugins.hparams import api_pb2

    infos = [api_pb2.HParamInfo(name=k, type=_data_type(v)) for k, v in fields.items()]
    metrics = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=shown)
        for tag, shown in (
            (f"best/{metric}", f"best {metric}"),
            ("best/epoch", "best epoch"),
            (_tag(metric), f"last {metric}"),
        )
    ]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics)
    return _hparams_summary("experiment", experiment=experiment)


def _data_type(value: Any) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    if isinstance(value, bool):
        return api_pb2.DATA_TYPE_BOOL
    return api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64


def _hparams_summary(tag: str, **content: Any) -> Any:
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData(**content)
    value = summary_pb2.Summary.Value(
        tag=f"_hparams_/{tag}",
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return summary_pb2.Summary(value=[value])


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
