"""Count orders per second with token buckets; time is an argument and may jump back."""

from __future__ import annotations

_NS_PER_S = 1_000_000_000


class TokenBucket:
    """A bucket that is full at first. It keeps what was `taken`, so that a limit may change while it runs."""

    __slots__ = ("_last_ns", "taken")

    def __init__(self) -> None:
        self.taken = 0.0
        self._last_ns = 0

    def left(self, rate_per_s: float, burst: float, now_ns: int) -> float:
        """Return how many orders may go now; below 1 means wait. Changes nothing."""
        taken, passed_ns = self.taken, now_ns - self._last_ns
        if passed_ns > 0:
            taken -= passed_ns * rate_per_s / _NS_PER_S
        return burst - taken if taken > 0 else burst

    def take(self, rate_per_s: float, burst: float, now_ns: int) -> None:
        """Take one; orders that reduce are taken too, down to an empty bucket."""
        self.taken = min(burst, burst - self.left(rate_per_s, burst, now_ns) + 1.0)
        self._last_ns = max(self._last_ns, now_ns)


UNLIMITED_RATE = 1e9
"""Orders per second where the limits say "unlimited"."""
