from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from services.gateway.shell.translate import UNSET_DOUBLE, grammar_name, number, order_of, rule_of, side_of
from shared.contracts import parse_contract
from shared.messages.orders import Side


def contract(**more: Any) -> SimpleNamespace:
    fields: dict[str, Any] = {
        "conId": 1, "symbol": "AAPL", "secType": "STK", "exchange": "SMART", "primaryExchange": "NASDAQ",
        "currency": "USD", "lastTradeDateOrContractMonth": "", "strike": 0.0, "right": "",
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **more})


@pytest.mark.parametrize(
    "given, expected",
    [
        (100.0, "100"), ("10.10", "10.1"), (0.1, "0.1"), (UNSET_DOUBLE, None), ("", None), (None, None),
        (float("nan"), None), ("x", None), ("1.7976931348623157E308", None),
    ],
)  # fmt: skip
def test_unset_numbers_are_none(given: Any, expected: str | None) -> None:
    assert number(given) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    "made, name",
    [
        (contract(), "AAPL@NASDAQ"),
        (contract(symbol="SAP", primaryExchange="IBIS", currency="EUR"), "SAP@IBIS:EUR"),
        (contract(secType="CASH", symbol="EUR", exchange="IDEALPRO"), "FX:EUR.USD"),
        (
            contract(secType="FUT", symbol="ES", exchange="CME", lastTradeDateOrContractMonth="20261218"),
            "FUT:ES@CME:20261218",
        ),
        (
            contract(secType="OPT", symbol="SPY", lastTradeDateOrContractMonth="20261218", strike=500.0, right="CALL"),
            "OPT:SPY:20261218:500C",
        ),
        (contract(secType="IND", symbol="SPX", exchange="CBOE"), "IND:SPX@CBOE"),
        (contract(secType="BAG", conId=77), "#77"),
    ],
)
def test_contracts_have_names_of_the_grammar(made: Any, name: str) -> None:
    assert str(grammar_name(made)) == name
    assert str(parse_contract(name)) == name


def test_an_order_keeps_only_the_prices_its_type_has() -> None:
    order = SimpleNamespace(
        orderType="MKT", lmtPrice=0.0, auxPrice=0.0, account="DU1", action="SELL", totalQuantity=5.0, permId=9,
        orderRef="", tif="", orderId=3, clientId=101, parentId=0, outsideRth=False, filledQuantity=UNSET_DOUBLE,
    )  # fmt: skip
    state = SimpleNamespace(status="Submitted", warningText="", completedStatus="")
    made = order_of(contract(), order, state, is_completed=False, is_listed=True)
    assert (made.limit_price, made.stop_price, made.tif, made.side) == (None, None, "DAY", Side.SELL)
    order.orderType, order.lmtPrice, order.auxPrice = "STP LMT", 10.5, 11.0
    made = order_of(contract(), order, state, is_completed=True, is_listed=False)
    assert (made.limit_price, made.stop_price, made.order_id) == (Decimal("10.5"), Decimal(11), 0)


def test_sides_and_market_rules() -> None:
    assert (side_of("BOT"), side_of("SSHORT")) == (Side.BUY, Side.SELL)
    details = SimpleNamespace(marketRuleIds="26,32", validExchanges="SMART,NYSE", contract=contract(exchange="NYSE"))
    assert rule_of(details) == 32
    assert rule_of(SimpleNamespace(marketRuleIds="", validExchanges="", contract=contract())) == 0
