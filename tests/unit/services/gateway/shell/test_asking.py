"""What is asked of the broker, and that nothing half answered counts."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from services.gateway.core.link import Link
from services.gateway.ports import QueryFailed
from services.gateway.settings import GatewaySettings
from services.gateway.shell.asking import OVERLAP_S, ask_day, ask_lately
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import BrokerUnavailable, TimedOut


class Session:
    """A session that keeps what it is asked; parts may fail."""

    client_id = 101

    def __init__(self, **failures: Exception) -> None:
        self.asked: list[str] = []
        self._failures = failures

    def _ask(self, name: str) -> list[Any]:
        self.asked.append(name)
        if name in self._failures:
            raise self._failures[name]
        return [name]

    async def open_orders(self, *, limit_s: float) -> list[Any]:
        return self._ask("open_orders")

    async def completed_orders(self, *, limit_s: float) -> list[Any]:
        return self._ask("completed_orders")

    async def executions(self, *, limit_s: float, since_ns: int = 0) -> list[Any]:
        return self._ask(f"executions_{since_ns // NS_PER_S}")

    async def positions(self, *, limit_s: float) -> list[Any]:
        return self._ask("positions")


def settings(guard: str = "") -> GatewaySettings:
    return GatewaySettings(
        **cast(Any, {"CQ_MODE": "sim", "IB_SIM_ACCOUNT": "DUSIM0001", "GATEWAY_GUARD": guard}),
    )


async def lately(session: Session, last_fill_s: int, guard: str = "") -> Any:
    return await ask_lately(cast(Any, session), settings(guard), last_fill_ns=last_fill_s * NS_PER_S)


async def test_of_a_known_day_only_what_came_last_is_asked_for() -> None:
    session = Session()
    found = await lately(session, 1000)
    assert session.asked == ["open_orders", f"executions_{1000 - OVERLAP_S}"]
    assert found.open_orders == ("open_orders",) and found.executions == (session.asked[1],)


async def test_without_a_known_execution_all_are_asked_for() -> None:
    session = Session()
    await lately(session, 0)
    assert session.asked == ["open_orders", "executions_0"]


async def test_a_broker_that_refuses_the_filter_is_asked_for_all() -> None:
    session = Session(executions_995=QueryFailed(321, "the time cannot be read"))
    found = await lately(session, 1000)
    assert session.asked == ["open_orders", "executions_995", "executions_0"] and found.executions == ("executions_0",)


async def test_a_guard_is_shown_the_positions() -> None:
    session = Session()
    await lately(session, 1000, "127.0.0.1:4104")
    assert "positions" in session.asked
    session = Session()
    await day(session, "127.0.0.1:4104")
    assert session.asked == ["open_orders", "completed_orders", "executions_0", "positions"]


async def day(session: Session, guard: str = "") -> Any:
    return await ask_day(
        cast(Any, session), settings(guard), Link(), undisturbed_since_ns=7, clock=SYSTEM_CLOCK
    )  # fmt: skip


async def test_the_whole_day_is_every_part() -> None:
    session = Session()
    evidence = await day(session)
    assert session.asked == ["open_orders", "completed_orders", "executions_0"]
    assert (evidence.client_id, evidence.undisturbed_since_ns) == (101, 7)
    assert not evidence.is_undisturbed  # the link was never connected: it proves no absence


@pytest.mark.parametrize("part", ["open_orders", "completed_orders", "executions_0"])
async def test_a_part_that_did_not_end_fails_the_whole(part: str) -> None:
    with pytest.raises(TimedOut):
        await day(Session(**{part: TimedOut("no end marker")}))
    if part == "open_orders":
        with pytest.raises(TimedOut):
            await lately(Session(open_orders=TimedOut("no end marker")), 0)


class Parting(Session):
    """A session whose parts all fail once it is let go, as when its socket closes."""

    def __init__(self) -> None:
        super().__init__()
        self.is_gone = asyncio.Event()

    async def _until_gone(self) -> list[Any]:
        await self.is_gone.wait()
        raise BrokerUnavailable("the session is closed")

    async def open_orders(self, *, limit_s: float) -> list[Any]:
        return await self._until_gone()

    async def executions(self, *, limit_s: float, since_ns: int = 0) -> list[Any]:
        return await self._until_gone()


@pytest.mark.parametrize("ask", [day, lambda session: lately(session, 1000)])
async def test_who_is_cancelled_while_a_part_fails_is_cancelled(ask: Any) -> None:
    # A leader that was paused beyond its lease: its loops are ended in the moment in which its session is gone. The
    # cancellation was lost, and the gateway went on connecting for ever instead of standing by.
    session = Parting()
    task = asyncio.create_task(ask(session))
    await asyncio.sleep(0.01)
    session.is_gone.set()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
