"""Token buckets with time as an argument."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.risk.core.rates import TokenBucket

SECOND = 1_000_000_000


@given(steps=st.lists(st.integers(0, SECOND), max_size=60), rate=st.integers(1, 10), burst=st.integers(1, 10))
def test_never_more_than_burst_plus_rate_times_time(steps: list[int], rate: int, burst: int) -> None:
    bucket, now, sent = TokenBucket(), 0, 0
    for step in steps:
        now += step
        if bucket.left(rate, burst, now) >= 1:
            bucket.take(rate, burst, now)
            sent += 1
    assert sent <= burst + rate * now / SECOND + 1e-6


def test_a_clock_that_jumps_back_gives_nothing_away() -> None:
    bucket = TokenBucket()
    bucket.take(1, 1, 100 * SECOND)
    assert bucket.left(1, 1, 50 * SECOND) < 1
    assert bucket.left(1, 1, 101 * SECOND) == 1
