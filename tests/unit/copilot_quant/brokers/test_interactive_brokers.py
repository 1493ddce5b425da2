from __future__ import annotations

import threading
from typing import Any

import pytest

from copilot_quant.access import Access
from copilot_quant.background import BACKGROUND
from copilot_quant.brokers import interactive_brokers
from copilot_quant.brokers.interactive_brokers import IBKRBroker
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput, BrokerUnavailable, TimedOut
from shared.messages.base import Message
from shared.messages.codec import encode_body
from shared.messages.orders import Decision, Intent, OrderState
from tests.support import eventually_sync
from tests.unit.copilot_quant.brokers.desks import an_access, an_event, do, hold, serve_one


@pytest.fixture
def access() -> Access:
    access = an_access()
    do(access.desk.bus.hash_set(access.desk.keys.last(265598), {"ts_ns": str(SYSTEM_CLOCK.wall_ns())}))
    return access


@pytest.fixture
def broker(access: Access, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interactive_brokers, "open_access", lambda **_: access)
    one = IBKRBroker(paper_trading=True)
    assert one.connect() is True
    yield one
    one.disconnect()


def test_the_balance_and_positions_have_the_guide_s_keys(broker: IBKRBroker, access: Access) -> None:
    assert broker.get_account_balance() == {"NetLiquidation": 1_000_000.0, "BuyingPower": 4_000_000.0}
    do(hold(access.desk, 10))
    (position,) = broker.get_positions()
    assert (position["symbol"], position["position"], position["avg_cost"]) == ("AAPL", 10, 216.96)
    assert broker.positions_frame()["symbol"].tolist() == ["AAPL"]
    assert list(broker.fills_frame().columns)[:2] == ["time", "symbol"] and broker.get_open_orders() == []


def test_an_order_answers_with_the_broker_s_word_and_the_position_is_there(broker: IBKRBroker, access: Access) -> None:
    desk, told = access.desk, threading.Event()
    seen: list[dict[str, Any]] = []

    def note(row: dict[str, Any]) -> None:
        seen.append(row)
        told.set()

    broker.on_order_status(note)

    def approve_and_fill(intent: Intent) -> list[tuple[str, Message]]:
        approval = Decision(intent_id=intent.intent_id, approved=True)
        return [(desk.keys.decisions, approval), (desk.keys.orders, an_event(intent, OrderState.FILLED))]

    async def system() -> Intent:
        intent = await serve_one(desk, approve_and_fill)
        await SYSTEM_CLOCK.sleep(0.2)  # the position comes after the fill
        await hold(desk, 10)
        return intent

    served = BACKGROUND.spawn(system())
    answer = broker.execute_order(symbol="AAPL", quantity=10, order_type="market", side="buy")
    assert (answer["status"], answer["filled"], answer["symbol"], answer["by"]) == ("filled", 10, "AAPL", "broker")
    assert [row["position"] for row in broker.get_positions()] == [10]
    assert served.result(5).intent_id == answer["order_id"]
    assert told.wait(5) and seen[0]["status"] == "filled"


def test_a_refusal_is_an_answer(broker: IBKRBroker, access: Access) -> None:
    desk = access.desk

    def refuse(intent: Intent) -> list[tuple[str, Message]]:
        refusal = Decision(intent_id=intent.intent_id, approved=False, code="RISK_HALTED", text="trading is halted")
        return [(desk.keys.decisions, refusal)]

    BACKGROUND.spawn(serve_one(desk, refuse))
    answer = broker.limit_order("AAPL", 1, 200.0)
    assert (answer["status"], answer["by"], answer["code"]) == ("rejected", "risk", "RISK_HALTED")


def test_what_is_no_order_is_not_sent(broker: IBKRBroker, access: Access) -> None:
    with pytest.raises(BadInput):
        broker.stop_order("AAPL", 1, -3)
    with pytest.raises(BadInput):
        broker.bracket_order("AAPL", 1, take_profit=10, stop_loss="low")
    assert do(access.desk.bus.stream_length(access.desk.keys.intents)) == 0


def test_a_cancel_waits_until_nothing_works_any_more(broker: IBKRBroker, access: Access) -> None:
    desk = access.desk
    BACKGROUND.spawn(serve_one(desk, lambda it: [(desk.keys.orders, an_event(it, OrderState.WORKING))]))
    answer = broker.limit_order("AAPL", 1, 200.0)
    intent = do(serve_one(desk, lambda _: []))
    do(desk.bus.hash_set(desk.keys.open_orders, {"1": encode_body(an_event(intent, OrderState.WORKING))}))
    assert [row["order_id"] for row in broker.get_open_orders()] == [answer["order_id"]]
    assert broker.cancel_order(answer["order_id"], limit_s=0.2) is False
    assert do(desk.bus.stream_length(desk.keys.cancels)) == 1
    do(desk.bus.hash_delete(desk.keys.open_orders, ["1"]))
    assert broker.cancel_order(answer["order_id"]) is True


def test_without_a_system_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> Access:
        raise TimedOut("not ready")

    monkeypatch.setattr(interactive_brokers, "open_access", fail)
    broker = IBKRBroker()
    assert broker.connect() is False and broker.last_error == "not ready"
    with pytest.raises(BrokerUnavailable, match="not ready"):
        broker.get_positions()
    with pytest.raises(BrokerUnavailable), broker:
        pass


async def test_it_works_inside_a_running_loop(broker: IBKRBroker) -> None:
    assert broker.get_account_balance()["NetLiquidation"] == 1_000_000.0
    broker.disconnect()
    eventually_sync(lambda: not broker.is_connected(), 1)
