"""A hot standby's subscriptions: silent until it leads, and never in the leader's way."""

from __future__ import annotations

import asyncio
import math
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from services.gateway.core.evidence import BrokerError
from services.gateway.core.tws_codes import CodeTable
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.feed import LISTEN_S, LOOK_AGAIN_S, FeedDesk
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.pace import Pace
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import Entry
from shared.clock import ManualClock
from shared.errors import BusUnavailable, OutcomeUnknown
from shared.messages.codec import encode_body
from shared.messages.control import SharesToBorrow
from shared.messages.market import (
    FLAG_SNAPSHOT,
    ContractInfo,
    DataStatus,
    SubscriptionRequest,
    TickKind,
    unpack_ticks,
)

AAPL, IBM = 265598, 8314


class Session:
    """A data session that notes what it is asked for."""

    is_open = True

    def __init__(self) -> None:
        self.subscribed: list[int] = []
        self.ended: list[int] = []

    def subscribe(self, contract: ContractInfo) -> int:
        self.subscribed.append(contract.con_id)
        return len(self.subscribed)

    def unsubscribe(self, req_id: int) -> None:
        self.ended.append(req_id)


class Desk:
    """A feed and all it touches."""

    def __init__(self) -> None:
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.clock = ManualClock(monotonic_ns=10**12)
        self.session = Session()
        self.said: list[Any] = []
        outbox = Outbox(cast(Any, self.bus), "gateway:a", clock=self.clock)
        outbox.open()
        cast(Any, outbox).put = lambda _stream, message: self.said.append(message)
        current = cast(Any, lambda: self.session)
        contracts = Contracts(cast(Any, self.bus), outbox, current, limit_s=1.0)
        self.feed = FeedDesk(
            cast(Any, self.bus), outbox, contracts, CodeTable({}), source="gateway:a", session=current,
            pace=Pace(clock=self.clock), clock=self.clock,
        )  # fmt: skip

    async def knows(self, con_id: int) -> None:
        info = ContractInfo(
            con_id=con_id, name=f"S{con_id}", symbol="S", sec_type="STK", exchange="SMART", currency="USD"
        )
        await self.bus.hash_set(self.bus.keys.contracts, {str(con_id): encode_body(info)})

    async def wants(self, *con_ids: int) -> None:
        stream = self.bus.keys.subscriptions
        await self.bus.append(stream, SubscriptionRequest(con_ids=con_ids), source="test")
        await self.feed._take_wanted((await self.bus.read_last(stream, 1))[0])
        await self.feed._follow()

    def quote(self, req_id: int, bid: float) -> None:
        self.feed.read_began()
        self.feed.price_tick(req_id, 1, bid, 3.0)
        self.feed.price_tick(req_id, 2, bid + 0.1, 4.0)
        self.feed.read_ended()


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    made.feed.hush()
    await made.knows(AAPL)
    return made


async def test_a_hot_standby_subscribes_and_says_nothing_until_it_leads(desk: Desk) -> None:
    await desk.wants(AAPL)
    desk.feed.data_type(1, 1)
    desk.feed.size_tick(1, 89, 5000.0)
    desk.quote(1, 10.0)
    assert desk.session.subscribed == [AAPL] and desk.feed.feed.waiting == 0
    desk.said.clear()  # the outbox of a standby is closed
    desk.feed.speak()
    assert [tick.kind for tick in desk.feed.feed.take()] == [TickKind.MARKER, TickKind.QUOTE]
    assert [(one.quality) for one in desk.said if isinstance(one, DataStatus)] == [1]
    assert [one.shares for one in desk.said if isinstance(one, SharesToBorrow)] == [5000]
    desk.quote(1, 10.1)
    assert desk.feed.feed.waiting == 1
    await desk.feed._follow()
    assert desk.session.subscribed == [AAPL], "it goes on with the subscription that it had"


async def test_a_standby_waits_until_the_leader_has_written_a_contract_down(desk: Desk) -> None:
    await desk.wants(AAPL, IBM)
    assert desk.session.subscribed == [AAPL]
    await desk.knows(IBM)
    await desk.feed._follow()
    assert desk.session.subscribed == [AAPL]
    desk.clock.advance(LOOK_AGAIN_S)
    await desk.feed._follow()
    assert desk.session.subscribed == [AAPL, IBM]


async def test_where_the_account_has_too_few_lines_the_standby_gives_its_own_back(desk: Desk) -> None:
    await desk.knows(IBM)
    await desk.wants(AAPL, IBM)
    assert desk.feed.error(BrokerError(req_id=2, code=101, text="Max number of tickers has been reached"))
    assert desk.session.ended == [1]
    await desk.wants(AAPL, IBM)
    assert desk.session.subscribed == [AAPL, IBM] and not desk.feed.feed.subscribed
    desk.feed.speak()
    await desk.wants(AAPL, IBM)
    assert desk.session.subscribed == [AAPL, IBM, AAPL, IBM], "as the leader it needs them"


async def test_what_was_refused_is_asked_for_again_by_the_leader_it_becomes(desk: Desk) -> None:
    await desk.wants(AAPL)
    assert desk.feed.error(BrokerError(req_id=1, code=354, text="not subscribed"))
    await desk.feed._follow()
    assert desk.session.subscribed == [AAPL]
    desk.feed.speak()
    await desk.feed._follow()
    assert desk.session.subscribed == [AAPL, AAPL]


async def test_prices_of_a_session_that_is_gone_are_no_snapshot(desk: Desk) -> None:
    await desk.wants(AAPL)
    desk.quote(1, 10.0)
    desk.session = Session()
    desk.feed.speak()
    assert desk.feed.feed.waiting == 0
    await desk.feed._follow()
    assert desk.session.subscribed == [AAPL]
    assert [tick.kind for tick in desk.feed.feed.take()] == [TickKind.MARKER]


async def test_an_entry_that_nobody_can_read_is_kept_once_by_the_leader(desk: Desk) -> None:
    entry = Entry(desk.bus.keys.subscriptions, "1-0", {b"body": b"nonsense"})
    await desk.feed._take_wanted(entry)
    assert await desk.bus.stream_length(desk.bus.keys.dead_letter) == 0
    desk.feed.speak()
    await desk.feed._take_wanted(entry)
    assert await desk.bus.stream_length(desk.bus.keys.dead_letter) == 1


def rejected() -> float:
    return REGISTRY.get_sample_value("cq_gateway_ticks_rejected_total") or 0.0


async def test_what_is_no_price_is_counted_and_not_published(desk: Desk) -> None:
    await desk.wants(AAPL)
    desk.feed.speak()
    desk.feed.feed.take()
    before = rejected()
    desk.feed.feed.price(1, 4, math.inf, 1.0, 7)
    desk.quote(1, 10.0)
    batches, count = desk.feed._batches(desk.feed.feed.take())
    assert [tick.a for _, body in batches for tick in unpack_ticks(body)] == [10.0] and count == 1
    assert rejected() == before + 1
    desk.feed.feed.price(1, 4, math.nan, 1.0, 7)
    assert desk.feed._batches(desk.feed.feed.take()) == ([], 0)


async def test_ticks_that_the_bus_did_not_take_are_not_said_again_and_readers_learn_of_the_gap(desk: Desk) -> None:
    bus, feed = desk.bus, desk.feed
    view = await bus.lease_view("gateway")
    token = await bus.lease_acquire("gateway", "a", view, at_least_epoch=1)
    assert token is not None
    await bus.raise_fence(token)
    publish, failures = bus.publish_ticks, [OutcomeUnknown("no reply"), BusUnavailable("away")]

    async def fails_twice(*args: Any, **more: Any) -> None:
        if failures:
            raise failures.pop()
        await publish(*args, **more)

    cast(Any, bus).publish_ticks = fails_twice
    await desk.knows(AAPL)
    feed.hush()
    await desk.wants(AAPL)
    feed.speak()
    desk.quote(1, 10.0)
    running = asyncio.create_task(feed.run_ticks(token, lambda: True))
    stream = bus.keys.ticks(bus.keys.partition(AAPL))
    while not await bus.stream_length(stream):
        desk.clock.advance(0.1)
        await asyncio.sleep(0)
        assert not running.done(), running.exception()
    running.cancel()
    (entry,) = await bus.read_range(stream)
    ticks = list(unpack_ticks(entry.fields[b"body"]))
    assert [(tick.kind, tick.flags) for tick in ticks] == [(TickKind.MARKER, 0), (TickKind.QUOTE, FLAG_SNAPSHOT)]
    assert ticks[1].a == 10.0


async def test_what_is_to_be_renewed_is_ended_and_subscribed_with_a_new_request(desk: Desk) -> None:
    for con_id in (AAPL, IBM):
        await desk.knows(con_id)
    desk.feed.hush()
    await desk.wants(AAPL, IBM)
    request = SubscriptionRequest(con_ids=(AAPL, IBM), renew=(IBM, 999))
    await desk.bus.append(desk.bus.keys.subscriptions, request, source="test")
    await desk.feed._take_wanted((await desk.bus.read_last(desk.bus.keys.subscriptions, 1))[0])
    await desk.feed._follow()
    assert desk.session.ended == [2] and desk.session.subscribed == [AAPL, IBM, IBM]
    assert desk.feed.feed.subscribed == {1: AAPL, 3: IBM}


@pytest.fixture
async def leading() -> Desk:
    made = Desk()
    for con_id in (AAPL, IBM):
        await made.knows(con_id)
    await made.feed._contracts.load()
    await made.wants(AAPL, IBM)
    made.quote(1, 10.0)
    made.feed.feed.take()
    return made


async def test_what_is_silent_after_an_outage_that_kept_it_is_asked_for_anew_once_and_the_rest_left_alone(
    leading: Desk,
) -> None:
    leading.feed.listen()
    leading.clock.advance(LISTEN_S - 0.1)
    leading.quote(1, 10.1)
    await leading.feed._follow()
    assert leading.session.ended == [] and leading.session.subscribed == [AAPL, IBM]
    leading.clock.advance(0.2)
    await leading.feed._follow()
    assert leading.session.ended == [2] and leading.session.subscribed == [AAPL, IBM, IBM]
    assert [(tick.con_id, tick.kind) for tick in leading.feed.feed.take()] == [
        (AAPL, TickKind.QUOTE), (IBM, TickKind.MARKER),
    ]  # fmt: skip
    leading.clock.advance(LISTEN_S * 5)
    await leading.feed._follow()
    assert leading.session.subscribed == [AAPL, IBM, IBM], "a market that is closed is silent, too"


async def test_a_new_session_or_lost_data_leave_nothing_to_listen_for(leading: Desk) -> None:
    leading.feed.listen()
    leading.feed.renew()
    await leading.feed._follow()
    assert leading.session.ended == [1, 2] and leading.session.subscribed == [AAPL, IBM] * 2
    leading.session = Session()
    await leading.feed._follow()
    leading.clock.advance(LISTEN_S + 0.1)
    await leading.feed._follow()
    assert leading.session.subscribed == [AAPL, IBM] and leading.session.ended == []
