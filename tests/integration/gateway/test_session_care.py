"""Each trouble of the broker is told apart by state, code and reason, and ends by its own way back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared.messages.control import BrokerStatus, FarmCondition, FarmStatus, LinkState
from shared.messages.orders import OrderState, Side
from tests.integration.gateway.test_faults import check_books
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(90)]
SETTINGS = {
    "GATEWAY_PROBE_S": "0.5", "GATEWAY_SILENCE_LIMIT_S": "2.0", "GATEWAY_QUARANTINE_S": "1.0",
    "GATEWAY_CONNECT_LIMIT_S": "1.0",
}  # fmt: skip
SEEN_WITHIN_S = 6.0
SILENT = "the broker does not answer on an open socket"


@dataclass(frozen=True)
class Trouble:
    """What is done to the broker and what must be shown of it: a state, with a code or words of its reason."""

    faults: tuple[tuple[str, dict[str, Any]], ...]
    state: LinkState
    words: str = ""
    code: int = 0
    after: tuple[str, dict[str, Any]] | None = None
    """What a person does about it."""


CUT = ("cut", {"client_id": 101, "abrupt": True})
TROUBLES = {
    "refused": Trouble((("refuse", {"seconds": 1.5}), CUT), LinkState.DOWN, "refused"),
    "hung after it was accepted": Trouble((("hang", {"seconds": 2.0}), CUT), LinkState.DOWN, "did not answer as TWS"),
    "id stuck": Trouble((("stuck_client", {"client_id": 101, "seconds": 1.5}), CUT), LinkState.DOWN, code=326),
    "half open and idle": Trouble((("half_open", {"client_id": 101}),), LinkState.DEGRADED, SILENT),
    "silent for a while": Trouble((("stall", {"seconds": 1.8}),), LinkState.DEGRADED, SILENT),
    "1100, then 1101": Trouble((("outage", {"seconds": 2.0, "code": 1101}),), LinkState.DEGRADED, code=1100),
    "1100, then 1102": Trouble((("outage", {"seconds": 2.0, "code": 1102}),), LinkState.DEGRADED, code=1100),
    "daily restart": Trouble((("auto_restart", {"seconds": 1.5, "lose_s": 0.0}),), LinkState.DOWN, "refused"),
    "weekly login": Trouble((("login_lockout", {}),), LinkState.DOWN, "refused", after=("login", {})),
}


async def shown(desk: Any) -> list[BrokerStatus]:
    return [each for each in await desk.messages(desk.bus.keys.broker_status) if isinstance(each, BrokerStatus)]


@pytest.mark.parametrize("name", TROUBLES)
async def test_it_is_shown_with_its_reason_and_ends_with_everything_known(
    name: str, start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    trouble = TROUBLES[name]
    limit, market = legs
    start_gateway("a", 1, **SETTINGS)
    await desk.ready_leader()
    resting = await desk.place(limit(Side.BUY, 10, "50"))
    used = (await desk.until(resting, OrderState.WORKING)).order_id
    epoch = (await desk.bus.lease_view("gateway")).epoch
    before = len(await shown(desk))
    began = time.monotonic()
    for fault, parameters in trouble.faults:
        desk.broker.fault(fault, **parameters)

    async def is_told() -> bool:
        return any(
            each.state is trouble.state and each.code == trouble.code and trouble.words in each.reason
            for each in (await shown(desk))[before:]
        )

    try:
        await eventually(is_told, 15.0)
    except AssertionError:
        raise AssertionError([(e.state, e.code, e.reason) for e in (await shown(desk))[before:]]) from None
    assert time.monotonic() - began < SEEN_WITHIN_S, "within seconds, although nothing was sent"
    short = await desk.place(limit(Side.BUY, 1, "51"), valid_s=0.2)
    await desk.until(short, OrderState.EXPIRED)
    if trouble.after is not None:
        command, parameters = trouble.after
        desk.broker.fault(command, **parameters)
    await desk.ready_leader(30.0)
    order = await desk.place(market(Side.BUY, 1))
    assert (await desk.until(order, OrderState.FILLED)).order_id > used
    await desk.cancel(resting)
    await desk.until(resting, OrderState.CANCELLED)
    await check_books(desk)
    assert (await desk.bus.lease_view("gateway")).epoch == epoch, "no trouble of the broker costs the lease"


async def test_farms_that_flap_are_shown_and_stop_no_order(
    start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    _, market = legs
    start_gateway("a", 1, **SETTINGS)
    await desk.ready_leader()
    before = len(await shown(desk))
    desk.broker.fault("farm_flap", times=2, interval_s=2.0)

    async def is_told() -> bool:
        return any(facts["broken_farms"] for facts in (await desk.heartbeats()).values())

    await eventually(is_told, 10.0)
    await desk.until(await desk.place(market(Side.BUY, 1)), OrderState.FILLED)

    async def flaps() -> list[tuple[FarmCondition, int]]:
        found = [each for each in await desk.messages(desk.bus.keys.broker_status) if isinstance(each, FarmStatus)]
        return [(each.condition, each.code) for each in found if each.farm == "usfarm"]

    broken, back = (FarmCondition.BROKEN, 2103), (FarmCondition.OK, 2104)

    async def is_over() -> bool:
        return not await is_told() and await flaps() == [back, broken, back, broken, back]

    try:
        await eventually(is_over, 20.0)
    except AssertionError:
        raise AssertionError(await flaps()) from None
    assert [each.state for each in (await shown(desk))[before:]] == [], "the trading link was READY all the time"


async def test_who_stands_by_is_shown_by_the_leader_with_what_is_wrong_with_it_and_when_it_is_gone(
    start_gateway: Callable[..., Any], desk: Any
) -> None:
    first = start_gateway("a", 1, **SETTINGS)
    await desk.ready_leader()
    start_gateway("b", 2, **SETTINGS)

    async def said(name: str, state: LinkState, words: str = "") -> bool:
        of_it = [each for each in await shown(desk) if each.instance == name]
        return (
            bool(of_it)
            and of_it[-1].state is state
            and not of_it[-1].is_leader
            and (words in of_it[-1].reason if words else not of_it[-1].reason)
        )

    async def fits(name: str, state: LinkState, words: str = "") -> None:
        try:
            await eventually(lambda: said(name, state, words), 20.0)
        except AssertionError:
            raise AssertionError([(e.instance, e.state, e.reason) for e in await shown(desk)]) from None

    await fits("b", LinkState.STANDBY)
    desk.broker.fault("stuck_client", client_id=2, seconds=4.0)
    desk.broker.fault("cut", client_id=2)
    await fits("b", LinkState.STANDBY, "its data session is DOWN: client id 2 is refused")
    assert [each for each in await shown(desk) if each.instance == "b"][-1].code == 326
    await fits("b", LinkState.STANDBY)
    leads = [each for each in await shown(desk) if each.is_leader]
    assert {each.instance for each in leads} == {"a"} and leads[-1].state is LinkState.READY
    first.kill()
    await desk.ready_leader(30.0, not_="a")
    await fits("a", LinkState.DOWN, "its heartbeat has stopped")
    start_gateway("a", 1, **SETTINGS)
    await fits("a", LinkState.STANDBY)
    assert [each for each in await shown(desk) if each.is_leader][-1].instance == "b"
