"""Own time and randomness: the only module that reads a clock or a random source.

Everything that decides takes `now_ns` as an argument; shells hold a `Clock`. Wall time is Unix time in
nanoseconds UTC and may jump; monotonic time is nanoseconds from an arbitrary start, never jumps back and is
the only one that measures durations (leases, timeouts, latencies).
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000


class Clock(Protocol):
    """What shells may ask of time."""

    def wall_ns(self) -> int:
        """Return Unix time in nanoseconds UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller for `seconds`."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        """Return Unix time in nanoseconds UTC."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return nanoseconds on the monotonic clock."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller for `seconds`."""
        await asyncio.sleep(seconds)

    def block(self, seconds: float) -> None:
        """Block the calling thread for `seconds`; only for threads of their own, never on the event loop."""
        time.sleep(seconds)


class ManualClock:
    """A clock for tests and simulations that moves only when told to."""

    def __init__(self, wall_ns: int = 1_700_000_000 * NS_PER_S, monotonic_ns: int = 0) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def wall_ns(self) -> int:
        """Return the wall time set so far."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """Return the monotonic time set so far."""
        return self._monotonic_ns

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller until `advance` has passed `seconds`."""
        due_ns = self._monotonic_ns + int(seconds * NS_PER_S)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((due_ns, waiter))
        await waiter

    def advance(self, seconds: float, *, wall_jump_s: float = 0.0) -> None:
        """Move both clocks on by `seconds`, and the wall clock by `wall_jump_s` more; wake who is due."""
        step_ns = int(seconds * NS_PER_S)
        self._monotonic_ns += step_ns
        self._wall_ns += step_ns + int(wall_jump_s * NS_PER_S)
        due = [entry for entry in self._sleepers if entry[0] <= self._monotonic_ns]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._monotonic_ns]
        for _, waiter in sorted(due, key=lambda entry: entry[0]):
            if not waiter.done():
                waiter.set_result(None)


SYSTEM_CLOCK = SystemClock()


def random_token(length: int = 20) -> str:
    """Return `length` characters of [a-z2-7] from the operating system's random source (5 bits each)."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(secrets.choice(alphabet) for _ in range(length))


def seeded_random(seed: int | str) -> random.Random:
    """Return a generator whose numbers follow from `seed` alone; for jitter and simulation, never for secrets."""
    return random.Random(seed)  # noqa: S311 - deterministic by design


def random_fraction() -> float:
    """Return a fraction in [0, 1) for jitter."""
    return secrets.randbelow(1 << 53) / (1 << 53)


def iso_utc(wall_ns: int) -> str:
    """Return `wall_ns` as ISO 8601 UTC with microseconds, e.g. `2026-11-23T09:40:48.000001Z`."""
    seconds, remainder_ns = divmod(wall_ns, NS_PER_S)
    return f"{_iso_second(seconds)}.{remainder_ns // 1000:06d}Z"


@lru_cache(maxsize=16)
def _iso_second(seconds: int) -> str:
    """Return a whole second as text; every entry of the order path shows its time, many in the same second."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_iso_utc(text: str) -> int:
    """Return Unix nanoseconds of an ISO 8601 time; a time without a zone is read as UTC.

    Raises:
        ValueError: `text` is not an ISO 8601 time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * NS_PER_S + moment.microsecond * NS_PER_US
