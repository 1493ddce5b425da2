"""What the trading session does about orders that should not be there."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, cast

import pytest

from services.gateway.core.book import OrderBook
from services.gateway.core.evidence import BrokerOrder
from services.gateway.core.order_machine import OrderFact
from services.gateway.core.takeover import Takeover
from services.gateway.core.tws_codes import CodeTable
from services.gateway.core.windows import Windows
from services.gateway.ports import ClientIdInUse
from services.gateway.settings import GatewaySettings
from services.gateway.shell.asking import ask_day
from services.gateway.shell.trading import ODD_EVERY_S, Trading
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseToken
from shared.clock import NS_PER_S
from shared.errors import BrokerUnavailable, Fenced, TimedOut
from shared.ids import IntentId, order_ref
from shared.messages.orders import OrderEvent, OrderState, Side

IID = IntentId("abcdefghij234567abcd")


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_ns = NS_PER_S

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self.now_ns


class Session:
    """A session that keeps what it is asked to cancel."""

    client_id = 101
    is_open = True

    def __init__(self) -> None:
        self.cancelled: list[int] = []

    def cancel(self, order_id: int) -> None:
        self.cancelled.append(order_id)


@pytest.fixture
def trading() -> Trading:
    settings = GatewaySettings(**cast(Any, {"CQ_MODE": "sim", "IB_SIM_ACCOUNT": "DUSIM0001"}))
    book = OrderBook(settings.deployment_id, "DUSIM0001")
    ref = order_ref(settings.deployment_id, IID, 0)
    book.restore(
        OrderEvent(
            intent_id=IID, order_ref=ref, state=OrderState.CLAIMED, strategy="demo", account="DUSIM0001", con_id=1,
            side=Side.BUY, quantity=Decimal(10), order_type="LMT", order_id=7, client_id=101,
        )
    )  # fmt: skip
    made = Trading(
        settings, cast(Any, None), book, cast(Any, None), CodeTable({}), Takeover(), LeaseToken("gateway", "g", 1, "i"),
        lambda: True, lambda _: "", Windows((), lead_s=0, grace_s=0, began_ns=0), began_ns=0, clock=cast(Any, Clock()),
    )  # fmt: skip
    made.session_number = 1
    return made


def show(trading: Trading, perm_id: int, status: str = "Submitted") -> None:
    ref = order_ref(trading._settings.deployment_id, IID, 0)
    order = BrokerOrder(
        "DUSIM0001", 1, Side.BUY, Decimal(10), "LMT", perm_id, ref, order_id=7, client_id=101, status=status
    )
    trading._book.shown(order, 5, session=trading.session_number)


def test_a_double_is_cancelled_until_it_has_ended(trading: Trading) -> None:
    # Simulation: a cancel that was lost with its session, or refused, left the double working for ever.
    session = Session()
    show(trading, 99)
    show(trading, 100)
    clock = cast(Clock, trading._clock)
    trading._cancel_odd(cast(Any, session))
    trading._cancel_odd(cast(Any, session))
    assert session.cancelled == [7]  # not twice in a row: the first order carries the same id
    clock.now_ns += int(ODD_EVERY_S * NS_PER_S)
    trading._cancel_odd(cast(Any, session))
    assert session.cancelled == [7, 7]
    show(trading, 100, "PendingCancel")
    clock.now_ns += int(ODD_EVERY_S * NS_PER_S)
    trading._cancel_odd(cast(Any, session))
    assert session.cancelled == [7, 7]  # the broker works on it
    show(trading, 100, "Cancelled")
    trading._cancel_odd(cast(Any, session))
    assert session.cancelled == [7, 7] and not trading._book.odd_tracks()


def test_only_what_this_session_shows_is_cancelled(trading: Trading) -> None:
    session = Session()
    show(trading, 99)
    show(trading, 100)
    trading.session_number = 2
    trading._cancel_odd(cast(Any, session))
    assert session.cancelled == []
    show(trading, 100)
    trading._cancel_odd(cast(Any, session))
    assert session.cancelled == [7]


class Silent(Session):
    """A session whose broker answers nothing but an error, when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = [asyncio.get_running_loop().create_future() for _ in range(3)]
        self.ended = 0

    async def _answer(self, number: int) -> list[Any]:
        try:
            return cast(list[Any], await self.failures[number])
        finally:
            self.ended += 1

    async def open_orders(self, *, limit_s: float) -> list[Any]:
        return await self._answer(0)

    async def completed_orders(self, *, limit_s: float) -> list[Any]:
        return await self._answer(1)

    async def executions(self, *, limit_s: float) -> list[Any]:
        return await self._answer(2)


async def ask_whole_day(trading: Trading, session: Silent) -> None:
    await ask_day(cast(Any, session), trading._settings, trading.link, undisturbed_since_ns=0, clock=trading._clock)


LATE = TimedOut("the broker did not answer the list of open orders within 5 s")


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, 5])
async def test_a_cancel_while_an_answer_fails_is_not_forgotten(trading: Trading, turns: int) -> None:
    # Chaos, seed 109: three gateways, each stopped for longer than the lease while it asked, never stood by again.
    session = Silent()
    is_over = False

    async def lead() -> None:
        nonlocal is_over
        try:
            await ask_whole_day(trading, session)
        except TimedOut:
            await asyncio.sleep(0.01)  # as the loop goes on to the next session
        is_over = True

    leading = asyncio.create_task(lead())
    for _ in range(3):
        await asyncio.sleep(0)
    session.failures[0].set_exception(LATE)
    for _ in range(turns):
        await asyncio.sleep(0)
    leading.cancel()
    await asyncio.wait([leading])
    assert leading.cancelled() and not is_over
    assert session.ended == 3


async def test_a_missing_answer_alone_is_told_and_no_question_stays(trading: Trading) -> None:
    session = Silent()
    session.failures[0].set_exception(LATE)
    with pytest.raises(TimedOut, match="the list of open orders"):
        await ask_whole_day(trading, session)
    assert session.ended == 3


async def test_without_a_lease_no_session_is_opened(trading: Trading) -> None:
    trading._has_lease = lambda: False
    with pytest.raises(Fenced, match="the lease is over"):
        await trading._connect()


class Quiet:
    """An outbox that takes everything."""

    async def flushed(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Telling(Session):
    """A session that answers that nothing is there, and nothing happened."""

    async def nothing(self, **_: float) -> list[Any]:
        return []

    open_orders = completed_orders = executions = nothing


async def test_a_leader_has_caught_up_once_the_broker_has_answered_on_this_session(trading: Trading) -> None:
    trading._bus = MemoryBus(MemoryServer(), Keys("sim"))
    trading._outbox = trading.desk._outbox = cast(Any, Quiet())
    trading._takeover.fenced()
    trading._takeover.read()
    trading._takeover.connected()
    trading.link.connected(NS_PER_S)
    session = trading.session = cast(Any, Telling())
    assert not trading.has_caught_up
    assert await trading._synchronise(session)
    assert not trading.has_caught_up, "the order is shown nowhere: it is in doubt, and asked for again"
    cast(Clock, trading._clock).now_ns += 60 * NS_PER_S
    assert await trading._synchronise(session)
    assert trading.has_caught_up
    trading.session_number = 2
    assert not trading.has_caught_up, "the broker cut the session: what happened since is asked for again"
    trading.session = None
    trading.session_number = 1
    assert not trading.has_caught_up


class Pool:
    """A trading session whose id is refused or let in by turns."""

    def __init__(self, trading: Trading) -> None:
        self._trading = trading
        cast(Any, trading)._settings = trading._settings.model_copy(
            update={"trading_client_ids": (101, 102, 103), "id_in_use_limit_s": 5.0}
        )

    def refused(self, after_s: float = 0.1) -> int:
        cast(Clock, self._trading._clock).now_ns += int(after_s * NS_PER_S)
        self._trading._note_refusal(ClientIdInUse("326"))
        return self._trading.client_id

    def let_in(self) -> None:
        self._trading._id_refused_since_ns, self._trading._back_to = 0, None

    def lost(self) -> int:
        self._trading._leave(cast(Any, Session()))
        return self._trading.client_id


def test_the_first_id_is_tried_again_with_the_next_session_and_left_at_once_where_it_is_stuck(trading: Trading) -> None:
    pool = Pool(trading)
    trading._book.told(trading._book.open_tracks()[0], OrderFact.CANCELLED, 5)
    assert [pool.refused(), pool.refused(4.8), pool.refused()] == [101, 101, 101]
    assert pool.refused(0.3) == 102, "the first was refused for longer than the limit"
    assert pool.refused(0.1) == 102 and pool.refused(5.1) == 103
    pool.let_in()
    assert pool.lost() == 101
    trading._note_refusal(BrokerUnavailable("refused"))
    assert trading.client_id == 101, "TWS is away: that says nothing of an id"
    assert pool.refused() == 103, "stuck still: back without waiting it out again"
    pool.let_in()
    assert pool.lost() == 101
    pool.let_in()
    assert pool.lost() == 101 and pool.refused() == 101


@pytest.mark.parametrize("client_id, stays", [(102, True), (101, False)])
def test_where_orders_of_ours_live_under_the_id_in_use_it_is_kept(
    trading: Trading, client_id: int, *, stays: bool
) -> None:
    pool = Pool(trading)
    (track,) = trading._book.open_tracks()
    track.client_id = client_id
    trading._id_index = 1
    assert pool.lost() == (102 if stays else 101)
