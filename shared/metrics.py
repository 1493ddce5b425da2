"""Make Prometheus metrics whose names carry their unit, and keep the list of them for the docs.

Each service declares its metrics in its own `metrics.py` with these functions; names start with `cq_` and end in
their unit (`_seconds`, `_bytes`, `_entries`, `_total` …). Labels have few values: never an order, a price or a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from shared.errors import InvariantBroken

_UNITS = (
    "seconds",
    "bytes",
    "entries",
    "total",
    "ratio",
    "info",
    "orders",
    "shares",
    "epoch",
    "ticks",
    "requests",
    "up",
)
_NAME = re.compile(r"cq_[a-z0-9_]+_(" + "|".join(_UNITS) + ")")
LATENCY_BUCKETS_S = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What the docs say of a metric."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]


CATALOGUE: dict[str, MetricInfo] = {}


def _note(name: str, kind: str, text: str, labels: Sequence[str]) -> None:
    if not _NAME.fullmatch(name):
        raise InvariantBroken(f"metric {name!r} must look like cq_…_<unit>, with a unit of {', '.join(_UNITS)}")
    if name in CATALOGUE:
        raise InvariantBroken(f"metric {name!r} is declared twice")
    CATALOGUE[name] = MetricInfo(name, kind, text, tuple(labels))


def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
    """Return a counter; `name` ends in `_total`."""
    _note(name, "counter", text, labels)
    return Counter(name, text, labels)


def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
    """Return a gauge."""
    _note(name, "gauge", text, labels)
    return Gauge(name, text, labels)


def histogram(
    name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS_S
) -> Histogram:
    """Return a histogram; times are in seconds."""
    _note(name, "histogram", text, labels)
    return Histogram(name, text, labels, buckets=tuple(buckets))


DEAD_LETTERS = counter("cq_dead_letters_total", "entries written to dead-letter by this process", ["stream"])
LEASE_CHANGES = counter("cq_lease_changes_total", "leases this process won or lost", ["role", "change"])
LEASE_EPOCH = gauge("cq_lease_epoch", "epoch of the lease this process holds, 0 without one", ["role"])
LOOP_STALL = gauge("cq_loop_stall_seconds", "longest time the event loop was late since the last heartbeat")
