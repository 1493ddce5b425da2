"""Commands have their turn one by one; held back they wait, and a halt does not."""

from __future__ import annotations

import asyncio

from services.gateway.shell.sending import Sending


async def idle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_command_at_a_time_and_a_halt_waits_for_it() -> None:
    sending, seen = Sending(), []
    is_written = asyncio.Event()

    async def command(number: int) -> None:
        async with sending.turn():
            seen.append(f"claim {number}")
            await is_written.wait()
            seen.append(f"write {number}")

    async def halt() -> None:
        async with sending:
            seen.append("halt")

    tasks = [asyncio.create_task(command(1)), asyncio.create_task(halt()), asyncio.create_task(command(2))]
    await idle()
    assert seen == ["claim 1"]
    is_written.set()
    await asyncio.gather(*tasks)
    assert seen == ["claim 1", "write 1", "halt", "claim 2", "write 2"]


async def test_held_back_after_the_write_under_way_and_a_halt_goes_on() -> None:
    sending, seen = Sending(), []
    is_written, is_over = asyncio.Event(), asyncio.Event()

    async def command(number: int) -> None:
        async with sending.turn():
            await is_written.wait()
            seen.append(f"write {number}")

    async def pause() -> None:
        async with sending.held_back():
            seen.append("held")
            await is_over.wait()

    tasks = [asyncio.create_task(command(1)), asyncio.create_task(pause()), asyncio.create_task(command(2))]
    await idle()
    assert seen == []
    is_written.set()
    await idle()
    assert seen == ["write 1", "held"], "also who waited for the turn before it was held back waits on"
    async with sending:
        seen.append("halt")
    is_over.set()
    await asyncio.gather(*tasks)
    assert seen == ["write 1", "held", "halt", "write 2"]


async def test_taken_for_good_nobody_has_a_turn() -> None:
    sending = Sending()
    await sending.acquire()

    async def command() -> None:
        async with sending.turn():
            raise AssertionError

    task = asyncio.create_task(command())
    await idle()
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
