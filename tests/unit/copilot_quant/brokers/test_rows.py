from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from copilot_quant.brokers import rows
from copilot_quant.desk import OrderResult, OrderTicket
from services.strategy.core.ordering import Number
from shared.errors import BadInput
from shared.messages.account import PositionReport
from shared.messages.market import ContractInfo
from shared.messages.orders import Fill, OrderEvent, OrderState, OrderType, Side

APPLE = ContractInfo(con_id=265598, name="AAPL@NASDAQ", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")


def test_a_balance_has_the_guide_s_keys_in_base_currency() -> None:
    values = {"AccountCode": "DU1", "NetLiquidation:USD": "10.5", "TotalCashValue:USD": "3", "CashBalance:EUR": "7"}
    assert rows.balance_of(values) == {"NetLiquidation": 10.5, "TotalCashValue": 3.0}


def test_a_position_has_the_guide_s_keys() -> None:
    report = PositionReport(
        account="DU1", con_id=1, contract="AAPL@NASDAQ", symbol="AAPL", position=Decimal("10"),
        average_cost=Decimal("216.96"),
    )  # fmt: skip
    row = rows.position_row(report)
    assert (row["symbol"], row["position"], row["avg_cost"]) == ("AAPL", 10, 216.96)
    assert isinstance(row["position"], int) and rows.number(Decimal("0.5")) == 0.5


def test_orders_and_fills_are_plain_values() -> None:
    event = OrderEvent(
        intent_id="i", state=OrderState.WORKING, strategy="manual", account="DU1", con_id=1, contract="AAPL@NASDAQ",
        side=Side.BUY, quantity=Decimal(1), order_type="LMT", limit_price=Decimal(5), by="broker",
    )  # fmt: skip
    row = rows.order_row(event)
    assert (row["order_id"], row["symbol"], row["side"], row["status"], row["limit_price"]) == (
        "i", "AAPL", "buy", "working", 5.0,
    )  # fmt: skip
    fill = Fill(
        exec_id="e.01", exec_stem="e", intent_id="i", strategy="manual", account="DU1", con_id=1, contract="AAPL",
        side=Side.SELL, quantity=Decimal(2), price=Decimal("1.5"), ts_event_ns=0,
    )  # fmt: skip
    row = rows.fill_row(fill)
    assert (row["time"], row["side"], row["quantity"], row["price"]) == ("1970-01-01T00:00:00.000000Z", "sell", 2, 1.5)


def test_a_second_order_that_the_broker_made_is_not_the_one_that_was_asked_for() -> None:
    common: dict[str, Any] = {"intent_id": "i", "strategy": "manual", "account": "DU1", "con_id": 1, "side": Side.BUY}
    event = OrderEvent(
        **common, state=OrderState.CANCELLED, quantity=Decimal(1), order_type="LMT", is_external=True, perm_id=7
    )
    fill = Fill(**common, exec_id="e.01", exec_stem="e", quantity=Decimal(2), price=Decimal(1), is_double=True)
    assert rows.order_row(event)["order_id"] == rows.fill_row(fill)["order_id"] == ""


def test_a_receipt_says_who_refused() -> None:
    answer = rows.receipt(
        OrderResult("i", "rejected", "risk", "RISK_HALTED", "halted"), APPLE, OrderTicket(Side.BUY, Decimal(1))
    )
    assert (answer["status"], answer["by"], answer["code"], answer["message"]) == (
        "rejected", "risk", "RISK_HALTED", "halted",
    )  # fmt: skip
    assert (answer["symbol"], answer["order_type"]) == ("AAPL", "MKT")


@pytest.mark.parametrize(
    "order_type, prices, expected",
    [
        ("market", {}, OrderType.MARKET),
        ("LIMIT", {"limit_price": 5}, OrderType.LIMIT),
        ("stop", {"stop_price": "4.5"}, OrderType.STOP),
        ("stop limit", {"limit_price": 5, "stop_price": 4}, OrderType.STOP_LIMIT),
        ("bracket", {"take_profit": 7, "stop_loss": 3}, OrderType.MARKET),
        ("bracket", {"limit_price": 5, "stop_loss": 3}, OrderType.LIMIT),
    ],
)
def test_words_and_prices_make_a_ticket(order_type: str, prices: dict[str, Number], expected: OrderType) -> None:
    ticket = rows.ticket_of(10, order_type, "Buy", {**prices})
    assert (ticket.order_type, ticket.side, ticket.quantity) == (expected, Side.BUY, 10)
    assert len(ticket.legs()) == 1 + len({"take_profit", "stop_loss"} & prices.keys())


@pytest.mark.parametrize(
    "quantity, order_type, side, prices, word",
    [
        (0, "market", "buy", {}, "quantity"),
        (-5, "market", "buy", {}, "quantity"),
        ("ten", "market", "buy", {}, "quantity"),
        (float("nan"), "market", "buy", {}, "quantity"),
        (1, "moc", "buy", {}, "order_type"),
        (1, "market", "long", {}, "side"),
        (1, "limit", "buy", {}, "limit_price"),
        (1, "stop", "buy", {"limit_price": 3}, "stop_price"),
        (1, "market", "buy", {"limit_price": 3}, "takes no limit_price"),
        (1, "limit", "buy", {"limit_price": 3, "stop_loss": 2}, "takes no stop_loss"),
        (1, "bracket", "buy", {}, "take_profit"),
        (1, "limit", "buy", {"limit_price": -1}, "limit_price"),
    ],
)
def test_what_cannot_be_an_order_is_named(
    quantity: Number, order_type: str, side: str, prices: dict[str, Number | None], word: str
) -> None:
    with pytest.raises(BadInput, match=word):
        rows.ticket_of(quantity, order_type, side, prices)
    with pytest.raises(BadInput, match="tif"):
        rows.ticket_of(1, "market", "buy", {}, tif="WEEK")
