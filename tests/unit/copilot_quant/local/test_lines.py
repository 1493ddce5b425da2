from __future__ import annotations

from decimal import Decimal

from copilot_quant.local.lines import Lines
from shared.messages.orders import (
    CancelRequest,
    Decision,
    Fill,
    Intent,
    OrderEvent,
    OrderLeg,
    OrderState,
    OrderType,
    Side,
)

AT = 1_700_000_000_000_000_000
ID = "i" * 20


def an_intent() -> Intent:
    leg = OrderLeg(side=Side.BUY, quantity=Decimal(5), order_type=OrderType.LIMIT, limit_price=Decimal("9.5"))
    return Intent(
        intent_id=ID, legs=(leg,), con_id=7, strategy="dip", account="DU1", valid_until_ns=1, reason="two falling bars"
    )  # fmt: skip


def a_fill() -> Fill:
    return Fill(
        exec_id="e1", exec_stem="e1", strategy="dip", account="DU1", con_id=7, side=Side.BUY, quantity=Decimal(5),
        price=Decimal("9.4"),
    )  # fmt: skip


def an_end(state: OrderState) -> OrderEvent:
    return OrderEvent(
        state=state, strategy="dip", account="DU1", con_id=7, side=Side.BUY, quantity=Decimal(5), order_type="LMT",
        by="broker", code="IB_201", text="no margin",
    )  # fmt: skip


def test_an_order_is_told_from_intent_to_fill_and_counted_once() -> None:
    lines = Lines({7: "IBM"})
    assert lines.of(an_intent(), AT) == "22:13:20.000  dip            intent    BUY 5 LMT 9.5 IBM  (two falling bars)"
    assert lines.of(an_intent(), AT) is None
    approved = lines.of(Decision(intent_id=ID, approved=True, strategy="dip"), AT)
    assert approved == "22:13:20.000  dip            approved  BUY 5 LMT 9.5 IBM"
    assert str(lines.of(a_fill(), AT)).endswith("filled    BUY 5 IBM at 9.4")
    assert lines.of(a_fill(), AT) is None and lines.of(an_end(OrderState.FILLED), AT) is None
    assert lines.summary == "intents 1, approved 1, rejected 0, fills 1, errors 0"


def test_a_refusal_says_who_and_why() -> None:
    lines = Lines({})
    lines.of(an_intent(), AT)
    refused = Decision(intent_id=ID, approved=False, code="RISK_HALTED", text="halted by hand", strategy="dip")
    assert "rejected  RISK_HALTED: halted by hand BUY 5 LMT 9.5 #7" in str(lines.of(refused, AT))
    assert "rejected  BUY 5 #7 by broker  IB_201 no margin" in str(lines.of(an_end(OrderState.REJECTED), AT))
    assert "cancel    BUY 5" in str(lines.of(CancelRequest(cancel_id="c", intent_id=ID, strategy="dip"), AT))
    assert lines.rejected == 1


def test_a_unit_is_told_when_it_changes_and_waiting_is_no_error() -> None:
    lines = Lines({})
    row = {"unit": "dip/IBM", "state": "waiting", "error": "waits for the gateway", "paused": "", "owner": "w1"}
    assert lines.unit(row) == "dip/IBM: waiting: waits for the gateway"
    assert lines.unit({**row, "error": "waits for contracts"}) is None
    running = {**row, "state": "running", "error": ""}
    assert lines.unit(running) == "dip/IBM: running on w1" and lines.unit(running) is None
    assert "on_bar raised" in str(lines.unit({**running, "error": "on_bar raised KeyError at dip.py:7"}))
    assert lines.errors == 1
