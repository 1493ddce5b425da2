from __future__ import annotations

import asyncio
import threading
from typing import Any

from tests.simulation.kernel import NS, Process, World
from tests.simulation.threads import SimEvent, SimThread


def turn(world: World, seconds: float) -> None:
    world.run_until(world.now + int(seconds * NS))


async def ticking(process: Process, seen: list[int], last: list[str]) -> None:
    try:
        while True:
            seen.append(process.monotonic_ns())
            await asyncio.sleep(1.0)
    finally:
        last.append("finally")


def blocking(world: World, stop: threading.Event, seen: list[int], ended: list[bool]) -> None:
    """A thread's work, as a service would write it; a `SimEvent` is its event."""
    try:
        while not stop.wait(1.0):
            seen.append(world.now)
    finally:
        ended.append(True)


def test_clocks_drift_and_a_paused_process_stands_still() -> None:
    world = World(1)
    fast, slow = world.process("fast", drift=0.1), world.process("slow")
    seen: dict[str, list[int]] = {"fast": [], "slow": []}
    for process in (fast, slow):
        process.start(ticking(process, seen[process.name], []))
    turn(world, 10.5)
    assert (len(seen["fast"]), len(seen["slow"])) == (12, 11)
    slow.pause(5 * NS)
    turn(world, 4.0)
    assert len(seen["slow"]) == 11
    turn(world, 2.0)
    assert len(seen["slow"]) > 11
    world.close()


def test_a_crash_runs_nothing_more_not_even_a_finally() -> None:
    world = World(1)
    process = world.process("p")
    seen: list[int] = []
    last: list[str] = []
    process.start(ticking(process, seen, last))
    turn(world, 2.5)
    process.crash()
    turn(world, 5.0)
    assert len(seen) == 3 and last == []
    world.close()


def test_an_error_ends_the_process_and_is_kept() -> None:
    world = World(1)
    process = world.process("p")

    async def fail() -> None:
        await asyncio.sleep(0.1)
        raise ValueError("broken")

    process.start(fail())
    turn(world, 1.0)
    assert not process.is_alive and [str(error) for _, error in world.failures] == ["broken"]
    world.close()


def test_a_blocking_thread_runs_in_virtual_time_and_is_unwound_at_the_end() -> None:
    world = World(1)
    process = world.process("p")
    stop = SimEvent(world)
    seen: list[int] = []
    ended: list[bool] = []

    thread = SimThread(blocking, (world, stop, seen, ended), process=process)
    process.enter(thread.start)
    turn(world, 3.5)
    assert len(seen) == 3 and not ended
    process.hang(10 * NS)  # the loop hangs, its threads go on
    turn(world, 2.0)
    assert len(seen) == 5
    world.close()
    assert ended == [True]


def test_the_order_of_processes_follows_from_the_seed() -> None:
    def order(seed: int) -> list[str]:
        world = World(seed)
        names: list[str] = []

        async def note(name: str) -> Any:
            for _ in range(5):
                names.append(name)
                await asyncio.sleep(0)

        for name in "abc":
            world.process(name).start(note(name))
        turn(world, 1.0)
        world.close()
        return names

    assert order(1) == order(1) and any(order(1) != order(seed) for seed in range(2, 6))
