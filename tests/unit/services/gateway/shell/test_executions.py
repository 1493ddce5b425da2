"""What the trading session says, as events and fills in the outbox."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.gateway.core.book import OrderBook
from services.gateway.core.evidence import BrokerCommission, BrokerError, BrokerExecution, BrokerOrder
from services.gateway.core.tws_codes import CodeTable
from services.gateway.shell.executions import OrderDesk
from shared.ids import IntentId, order_ref
from shared.messages.orders import Commission, Fill, OrderEvent, OrderState, Side

DEP = "sim:sim:DU1"
IID = IntentId("abcdefghij234567abcd")
REF = order_ref(DEP, IID, 0)


class Kept:
    """An outbox that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[OrderEvent] = []
        self.fills: list[Fill | Commission] = []

    def put_orders(self, events: list[OrderEvent]) -> None:
        self.events += events

    def put_fill(self, fill: Fill | Commission) -> None:
        self.fills.append(fill)


@pytest.fixture
def outbox() -> Kept:
    return Kept()


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def desk(outbox: Any, asked: list[str]) -> OrderDesk:
    book = OrderBook(DEP, "DU1")
    book.restore(
        OrderEvent(
            intent_id=IID, order_ref=REF, state=OrderState.CLAIMED, strategy="demo", account="DU1", con_id=1,
            side=Side.BUY, quantity=Decimal(10), order_type="LMT", order_id=7, client_id=101,
        )
    )  # fmt: skip
    made = OrderDesk(
        book, outbox, CodeTable(), "DU1", on_link=lambda _c, _t: None, on_ask=asked.append, on_closed=lambda _r: None
    )
    made.session_number, made.client_id = 1, 101
    return made


def shown(status: str = "Submitted") -> BrokerOrder:
    return BrokerOrder("DU1", 1, Side.BUY, Decimal(10), "LMT", 99, REF, order_id=7, client_id=101, status=status)


def execution() -> BrokerExecution:
    return BrokerExecution("e.01", "DU1", 1, Side.BUY, Decimal(10), Decimal(5), 1, perm_id=99, order_ref=REF)


def states(outbox: Kept) -> list[OrderState]:
    return [event.state for event in outbox.events]


@pytest.mark.parametrize("is_commission_first", [True, False])
def test_a_commission_waits_for_its_execution_and_is_told_once(
    desk: OrderDesk, outbox: Kept, is_commission_first: bool
) -> None:
    report = BrokerCommission("e.01", Decimal(1), "USD")
    acts = [lambda: desk.commission(report), lambda: desk.executed(execution())]
    for act in acts if is_commission_first else reversed(acts):
        act()
    desk.commission(report)
    assert [type(fill) for fill in outbox.fills] == [Fill, Commission]
    assert all(fill.strategy == "demo" for fill in outbox.fills)


def test_a_refusal_of_a_new_order_ends_it(desk: OrderDesk, outbox: Kept) -> None:
    desk.error(BrokerError(7, 201, "no margin"))
    assert states(outbox) == [OrderState.REJECTED] and outbox.events[0].code == "IB_201"


def test_a_refused_change_of_a_working_order_only_asks(desk: OrderDesk, outbox: Kept, asked: list[str]) -> None:
    desk.order_shown(shown())
    desk.error(BrokerError(7, 110, "price"))
    desk.error(BrokerError(7, 10148, "cannot be cancelled, state: Filled"))
    assert states(outbox) == [OrderState.WORKING] and len(asked) == 2


@pytest.mark.parametrize("code", [399, 404, 2109, 10349])
def test_warnings_change_nothing(desk: OrderDesk, outbox: Kept, asked: list[str], code: int) -> None:
    desk.error(BrokerError(7, code, "just so you know"))
    assert not outbox.events and not asked


def test_an_unlisted_code_asks_and_another_clients_id_is_not_ours(
    desk: OrderDesk, outbox: Kept, asked: list[str]
) -> None:
    desk.error(BrokerError(7, 98765, "what is this"))
    desk.error(BrokerError(8, 201, "somebody else's request"))
    assert not outbox.events and len(asked) == 1


def test_a_message_that_could_be_an_order_and_does_not_decode_asks(desk: OrderDesk, asked: list[str]) -> None:
    desk.unreadable(11, ["11", "x"], "ValueError")
    desk.unreadable(17, ["17", "x"], "ValueError")
    assert len(asked) == 1


def test_a_waiting_modify_ends_with_its_refusal(desk: OrderDesk, outbox: Kept) -> None:
    desk.order_shown(shown())
    desk.book.restore(
        OrderEvent(
            intent_id="m" * 20, order_ref="cqmodify", state=OrderState.CLAIMED, strategy="demo", account="DU1",
            con_id=1, side=Side.BUY, quantity=Decimal(20), order_type="LMT", code="GATEWAY_MODIFY", text=REF,
        )
    )  # fmt: skip
    desk.error(BrokerError(7, 201, "no margin for the larger one"))
    assert (outbox.events[-1].intent_id, outbox.events[-1].state) == ("m" * 20, OrderState.REJECTED)
    track = desk.book.get(REF)
    assert track is not None and track.state is OrderState.WORKING


def test_a_second_order_of_one_reference_is_asked_about_at_once(desk: OrderDesk, asked: list[str]) -> None:
    # Simulation: the cancel of what IB had doubled waited for the next reconciliation, which nothing asked for.
    desk.order_shown(shown())
    assert not asked
    desk.order_shown(replace(shown(), perm_id=100))
    assert asked and [track.perm_id for track in desk.book.odd_tracks()] == [100]
