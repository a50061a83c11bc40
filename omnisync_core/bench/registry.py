"""All metrics, in the order of the paper's table."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from . import identity, landmarks, own, pictures, sets, sync
from .measure import Column, Metric

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *sets.metrics(), identity.metric(), *pictures.without_reference(), landmarks.metric(), sync.metric(),
        *pictures.against_truth(), *own.metrics(),
    )
}  # fmt: skip
COLUMNS: dict[str, Column] = {column.name: column for metric in METRICS.values() for column in metric.columns}


def chosen(names: Sequence[str] | None) -> list[Metric]:
    """Metrics by name, in the table's order (None: all). InputError: a name that is none."""
    if names is None:
        return list(METRICS.values())
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise InputError(f"no metric is called {', '.join(map(repr, unknown))}; there are {', '.join(METRICS)}")
    return [metric for name, metric in METRICS.items() if name in names]
