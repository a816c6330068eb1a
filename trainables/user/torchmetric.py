"""Metrics by their names in torchmetrics, such as `auroc`, `f1_score` or `r2_score`."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from raysweep.core.errors import UserError, nearest

__all__ = ["torchmetric"]


def torchmetric(name: str, outputs: Tensor, labels: Tensor) -> float:
    """A metric of what a network gave for n examples; of classes, the mean over the classes.

    Args:
        name: of a function in `torchmetrics.functional`; those of classification are told whether
            the labels are classes or several labels, others get plain values.
        outputs: logits of classes [n, classes] or of several labels [n, k]; or values [n, ...].
        labels: whole numbers [n] or [n, k], or values.

    Raises:
        UserError: torchmetrics is not installed, has no such metric, or the metric is no single
            number.
    """
    try:
        from torchmetrics import functional
    except ImportError:
        raise UserError(
            f"val_{name} is a metric of torchmetrics, which is not installed: `pip install "
            "torchmetrics`; or override `evaluate`"
        ) from None
    function: Any = getattr(functional, name, None)
    if not inspect.isfunction(function):
        names = {n for n, f in vars(functional).items() if inspect.isfunction(f)}
        hint = nearest(name, names | {"loss", "accuracy", "rmse"})
        raise UserError(
            f"val_{name}: torchmetrics has no metric of that name"
            f"{hint if 'did you mean' in hint else '; its documentation lists all'}"
        )
    given: dict[str, Any] = {}
    if "task" in inspect.signature(function).parameters:
        if labels.is_floating_point():
            raise UserError(f"val_{name} is of classes, and the labels are values (fractions)")
        several = labels.ndim > 1
        size = {"num_labels" if several else "num_classes": outputs.shape[-1]}
        given = {"task": "multilabel" if several else "multiclass", **size}
        if "average" in inspect.signature(function).parameters:
            given["average"] = "macro"  # where every class counts alike; the other is the accuracy
        outputs = outputs.sigmoid() if several else outputs.softmax(-1)
    else:
        outputs = outputs.reshape(labels.shape)
    try:
        return float(function(outputs, labels, **given))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"val_{name} cannot be measured here: {error}") from None
