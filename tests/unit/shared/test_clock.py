from __future__ import annotations

import asyncio

import pytest

from shared.clock import NS_PER_S, ManualClock, iso_utc, parse_iso_utc, random_token, seeded_random


def test_times_are_written_and_read_in_utc() -> None:
    ns = 1_700_000_000_123_456_000
    assert iso_utc(ns) == "2023-11-14T22:13:20.123456Z"
    assert parse_iso_utc(iso_utc(ns)) == ns
    assert parse_iso_utc("2023-11-14") == parse_iso_utc("2023-11-14T00:00:00+00:00")
    with pytest.raises(ValueError, match="Invalid"):
        parse_iso_utc("yesterday")


async def test_a_manual_clock_wakes_sleepers_in_their_order() -> None:
    clock = ManualClock(wall_ns=0)
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (2.0, 1.0, 3.0):
            group.create_task(sleeper(seconds))
        await asyncio.sleep(0)
        clock.advance(2.0, wall_jump_s=-5.0)
        for _ in range(3):
            await asyncio.sleep(0)
        assert woken == [1.0, 2.0]
        clock.advance(1.0)
    assert clock.monotonic_ns() == 3 * NS_PER_S and clock.wall_ns() == -2 * NS_PER_S


def test_tokens_differ_and_seeds_repeat() -> None:
    assert len({random_token() for _ in range(100)}) == 100
    assert seeded_random(7).random() == seeded_random(7).random()
