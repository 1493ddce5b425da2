from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from services.simulator.core.order_rules import Context, check_change, check_new, normalised_type
from services.simulator.core.universe import default_universe
from shared.tws.order import TwsOrder
from tests.unit.services.simulator.exchange_support import START_NS, order

APPLE = next(each for each in default_universe(date(2026, 11, 23)) if each.symbol == "AAPL")
CONTEXT = Context(APPLE, ("DUSIM0001",), 100.0, now_ns=START_NS)


@pytest.mark.parametrize(
    ("placed", "context", "code"),
    [
        (order(tif="GTD"), CONTEXT, 343),
        (order(tif="GTD", good_till_date="tomorrow"), CONTEXT, 343),
        (order(tif="GTD", good_till_date="20261123-14:00:00"), CONTEXT, 201),
        (order(good_after_time="noon"), CONTEXT, 343),
        (order(quantity="0.5"), replace(CONTEXT, version=162), 10285),
        (order(quantity="0.5"), CONTEXT, 10243),
        (order(kind="LMT", lmt_price="120"), replace(CONTEXT, precaution_percent=10.0), 163),
        (order(quantity=501), replace(CONTEXT, precaution_size=500), 383),
        (order(kind="LMT", lmt_price="120"), replace(CONTEXT, limits=(90.0, 110.0)), 201),
        (order(kind="LMT", lmt_price="80"), replace(CONTEXT, limits=(90.0, 110.0)), 201),
        (order(kind="TRAIL", aux_price="1", tif="FOK"), CONTEXT, 111),
        (order(kind="MOC", tif="GTC"), CONTEXT, 113),
        (order(kind="PEG MID"), CONTEXT, 387),
        (order(kind="STP"), CONTEXT, 107),
    ],
)
def test_refusals(placed: TwsOrder, context: Context, code: int) -> None:
    complaint = check_new(placed, context)
    assert complaint is not None and complaint[0] == code


@pytest.mark.parametrize("kind", ["MKT", "REL", "MIDPRICE", "MOC"])
def test_orders_that_need_no_price_are_taken(kind: str) -> None:
    assert check_new(order(kind=kind), CONTEXT) is None


def test_an_override_lets_an_order_past_the_precautions() -> None:
    placed = order(quantity=501, override_percentage_constraints=True)
    assert check_new(placed, replace(CONTEXT, precaution_size=500)) is None


def test_the_day_may_become_immediate_and_nothing_else() -> None:
    day = order(kind="LMT", lmt_price="99")
    assert check_change(day, replace(day, tif="IOC"), Decimal(0)) is None
    assert check_change(day, replace(day, oca_type=3), Decimal(0)) is None, "TWS fills in 3"
    complaint = check_change(day, replace(day, order_type="MKT"), Decimal(0))
    assert complaint is not None and complaint[0] == 329
    complaint = check_change(day, replace(day, order_ref="other"), Decimal(0))
    assert complaint is not None and complaint[0] == 105
    complaint = check_change(day, replace(day, total_quantity=Decimal(10)), Decimal(10))
    assert complaint is not None and complaint[0] == 201


def test_spellings_of_types() -> None:
    assert [normalised_type(each) for each in ("stplmt", "TRAILLIMIT", "LMT")] == ["STP LMT", "TRAIL LIMIT", "LMT"]
