"""Decide, from samples of a worker, when one of its units has to go: it blocks for good, or it takes all the memory.

A handler is taken for stuck once its one call
1. was found stuck from inside: it was interrupted and did not end; or
2. used processor time beyond the limit: a call into C that takes no signals; or
3. waited, far longer, without using any: a call into C that holds the interpreter.
A process that is stopped, starved of the processor or under a debugger is none of these. Memory beyond the limit
is laid to the unit whose handlers were measured to take most of it, else to the one whose handler runs.
"""

from __future__ import annotations

from dataclasses import dataclass

NS_PER_S = 1_000_000_000
BUSY_LIMITS = 1.5
IDLE_LIMITS = 4.0
MEASURE_SHARE = 0.5
SLEPT_NS = 500_000_000
"""A sample this late says nothing: the machine or both processes were held."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a worker; `cpu_ns` and `is_waiting` (for anything but a processor) are None where unknown."""

    now_ns: int
    calls: int
    unit: str
    is_running: bool
    is_stuck: bool = False
    is_debugged: bool = False
    is_held: bool = False
    """Stopped by a signal."""
    is_waiting: bool | None = None
    cpu_ns: int | None = None
    memory_mb: float = 0.0
    greediest: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A unit that has to go, and why in words."""

    unit: str
    why: str
    is_memory: bool = False


@dataclass
class Patience:
    """One worker's; give it samples in order.

    Args:
        limit_s: how long a handler may take.
        memory_mb: what the process may hold; 0 for no limit.
    """

    limit_s: float
    memory_mb: float = 0.0
    _calls: int = -1
    _busy_ns: int = 0
    _waited_ns: int = 0
    _cpu_ns: int | None = None
    _before_ns: int = 0
    lasted_ns: int = 0
    """For how long the one call has lasted, whatever it did."""

    def is_uneasy(self, sample: Sample) -> bool:
        """Return whether so much memory is taken that each handler should be measured."""
        return bool(self.memory_mb) and sample.memory_mb > MEASURE_SHARE * self.memory_mb

    def look(self, sample: Sample) -> Verdict | None:
        """Take a sample; return the unit that has to go."""
        step_ns = sample.now_ns - self._before_ns if self._before_ns else 0
        cpu_ns = None if sample.cpu_ns is None or self._cpu_ns is None else sample.cpu_ns - self._cpu_ns
        self._before_ns, self._cpu_ns = sample.now_ns, sample.cpu_ns
        culprit = sample.greediest or (sample.unit if sample.is_running else "")
        if self.memory_mb and sample.memory_mb > self.memory_mb and culprit:
            text = f"the worker's memory grew to {sample.memory_mb:.0f} MB (limit {self.memory_mb:.0f}), mostly here"
            return Verdict(culprit, text, is_memory=True)
        is_other = sample.calls != self._calls or not sample.is_running
        self._calls = sample.calls
        if is_other or sample.is_held or sample.is_debugged or step_ns > SLEPT_NS:
            self._busy_ns = self._waited_ns = self.lasted_ns = 0
            return None
        self.lasted_ns += step_ns
        self._busy_ns += cpu_ns or 0
        self._waited_ns += step_ns if sample.is_waiting is not False else 0
        limit_ns = self.limit_s * NS_PER_S
        if sample.is_stuck or self._busy_ns > BUSY_LIMITS * limit_ns or self._waited_ns > IDLE_LIMITS * limit_ns:
            return Verdict(sample.unit, f"did not return within {self.limit_s:g} s and could not be interrupted")
        return None
