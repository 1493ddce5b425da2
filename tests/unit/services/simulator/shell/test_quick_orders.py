"""openOrder written in parts: byte for byte what the codec writes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from services.simulator.shell.quick_orders import MOST_KEPT, OrderFrames
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from shared.tws.framing import encode_frame
from shared.tws.order import OrderState, PriceCondition, TwsOrder, revised

CONTRACT = TwsContract(con_id=265598, symbol="AAPL", sec_type="STK", right="?", exchange="SMART", currency="USD")
PLAIN = TwsOrder(action="BUY", total_quantity=Decimal("100.00"), order_type="LMT", lmt_price=Decimal("10.50"))
ORDERS = {
    "plain": PLAIN,
    "as TWS fills it in": revised(PLAIN, delta_neutral_order_type="None", adjusted_order_type="None", oca_type=3),
    "not ASCII": revised(PLAIN, order_ref="Bärenmarkt \\ 1"),
    "conditions": revised(PLAIN, conditions=(PriceCondition(con_id=1, exchange="SMART", price=Decimal("1.50")),)),
    "scale": revised(PLAIN, scale_price_increment=Decimal("0.00"), hedge_type="D", algo_strategy="Vwap"),
}
STATES = (
    OrderState(status="PreSubmitted"),
    OrderState(status="Submitted"),
    OrderState(status="Filled", commission=Decimal("1.00"), commission_currency="USD", warning_text="größer"),
)


def message(order: TwsOrder, state: OrderState, number: int = 1) -> rs.OpenOrder:
    return rs.OpenOrder(number, 1, 1_000 + number, CONTRACT, order, state, "1001.0/DU1/100")


@pytest.mark.parametrize("version", [157, 159, 160, 162, 163, 166, 170, 176, 177, 178, 195, 200])
@pytest.mark.parametrize("name", ORDERS)
def test_the_bytes_are_the_codecs(name: str, version: int) -> None:
    frames = OrderFrames(version)
    for state in STATES:
        shown = message(ORDERS[name], state)
        assert frames.frame(shown) == encode_frame(rs.encode_response(shown, version))


def test_what_has_changed_is_written_anew() -> None:
    frames, first = OrderFrames(176), message(PLAIN, STATES[0])
    frames.frame(first)
    for changed in (
        replace(first, order=revised(PLAIN, lmt_price=Decimal(11))),
        replace(first, contract=replace(CONTRACT, symbol="APLE")),
        replace(first, shares_allocation="1001.0/DU1/50"),
        replace(first, order_id=-1),
        first,
    ):
        assert frames.frame(changed) == encode_frame(rs.encode_response(changed, 176))


def test_no_more_than_so_many_orders_are_kept() -> None:
    frames = OrderFrames(176)
    for number in range(MOST_KEPT + 50):
        frames.frame(message(PLAIN, STATES[0], number))
    assert len(frames._kept) == MOST_KEPT


def test_an_order_revised_is_a_new_one() -> None:
    assert revised(PLAIN, tif="GTC") == replace(PLAIN, tif="GTC")
    assert revised(PLAIN) == PLAIN and revised(PLAIN) is not PLAIN
    with pytest.raises(KeyError):
        revised(PLAIN, no_such_field=1)
