"""Run a measurement several times and keep what can be trusted: medians, and ratios within one run."""

from __future__ import annotations

import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One measured figure: `values` are one per round, in the order of the rounds."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        return f"{min(self.values):,.3g} to {max(self.values):,.3g}"


def ratio(a: Row, b: Row) -> float:
    """Return the median of a/b pair by pair: both were measured in the same round."""
    return statistics.median(x / y for x, y in zip(a.values, b.values, strict=True))


@dataclass
class Spent:
    """Wall and CPU seconds of a piece of work in this process."""

    wall_s: float
    cpu_s: float


def spend(work: Callable[[], None]) -> Spent:
    """Run work and return what it took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    work()
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(wall_s, cpu_s)


def machine() -> str:
    """Say what this was measured on."""
    cores = len(Path("/proc/cpuinfo").read_text().split("processor\t")) - 1 if Path("/proc/cpuinfo").exists() else 0
    return f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}"


def version_of(command: list[str]) -> str:
    """Return the first line a program prints of its version."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()[0]


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
