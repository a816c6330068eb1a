"""Published results that our own stand beside, each with its architecture as a configuration.

From the fifth lesson of fast.ai's "Deep Learning For Coders" (2016/17) and its notebooks; see
docs/reference.md. All of them were chosen on the set that they were measured on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["REFERENCES", "Reference", "references_for"]


@dataclass(frozen=True)
class Reference:
    """A published result.

    Attributes:
        key: a short name, unique.
        group: ratings, text or images.
        title: what was trained, in words.
        metric: what was measured, by the name that our metric has.
        value: the published figure.
        measured_on: the set that it was measured on.
        task: our trainable.
        matches: fields that say whether a run has this architecture.
        settings: the configuration as published, as far as it differs from our default.
        tuned: the configuration that we recommend instead, where another was found better.
        data: fields of the data's configuration.
        tuned_data: the same for `tuned`, where they differ.
        needs: names of datasets and files, to say what is missing.
        quick: settings that make it a matter of a minute on two cores.
    """

    key: str
    group: str
    title: str
    metric: str
    value: float
    measured_on: str
    task: str
    matches: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    tuned: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    tuned_data: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    quick: Mapping[str, Any] = field(default_factory=dict)


REFERENCES: tuple[Reference, ...] = ()


def references_for(task: str, dataset: str, config: Mapping[str, Any]) -> tuple[Reference, ...]:
    """Published results of a network like this one on these data, the closest one first."""
    return ()
