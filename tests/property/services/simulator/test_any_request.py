"""Whatever a client asks, the exchange answers or refuses: it never raises, and what it sends encodes."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.tws.contract import ComboLeg, TwsContract
from shared.tws.order import (
    ExecutionCondition,
    MarginCondition,
    OrderCondition,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    VolumeCondition,
)
from shared.tws.requests import REQUESTS, PlaceOrder, StartApi, decode_request, encode_request
from shared.tws.responses import encode_response
from tests.property.shared.tws.messages import of_message
from tests.unit.services.simulator.exchange_support import Driver

KNOWN = [
    TwsContract(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD"),
    TwsContract(symbol="EUR", sec_type="CASH", exchange="IDEALPRO", currency="USD"),
    TwsContract(symbol="ES", sec_type="FUT", exchange="CME", last_trade_date="202612"),
    TwsContract(symbol="SPX", sec_type="IND", exchange="CBOE"),
    TwsContract(symbol="SPY", sec_type="OPT", exchange="SMART", last_trade_date="20261218", strike=600.0, right="C"),
    TwsContract(symbol="SAP", sec_type="STK", exchange="SMART", multiplier="x"),
    TwsContract(
        symbol="AAPL",
        sec_type="BAG",
        exchange="SMART",
        combo_legs=(ComboLeg(265598, 1, "BUY", "SMART"), ComboLeg(272093, 3, "SELL", "SMART")),
    ),
]
amounts = st.one_of(
    st.none(),
    st.sampled_from([Decimal(0), Decimal("1e30"), Decimal(-1), Decimal("0.005")]),
    st.decimals(1, 9999, places=2),
)
sensible = {
    "bar_size": st.sampled_from(["1 secs", "5 secs", "1 min", "1 day", "1 month"]),
    "duration": st.sampled_from(["60 S", "1 D", "2 W", "99999 Y", "1 Y", "x"]),
    "end": st.sampled_from(["", "20261120 10:00:00", "00010101 00:00:00", "99991231-23:59:59", "x"]),
    "start": st.sampled_from(["", "20261120 10:00:00", "00010101 00:00:00", "99991231-23:59:59"]),
    "time": st.sampled_from(["", "20261120 10:00:00", "99991231-23:59:59", "x"]),
    "what_to_show": st.sampled_from(["TRADES", "MIDPOINT", "BID_ASK", "SCHEDULE", "FEE_RATE", "AGGTRADES", "x"]),
    "generic_ticks": st.sampled_from(["", "233,165", "100,101,104,106,236,292,375,588", "x"]),
    "period": st.sampled_from(["1 day", "3 weeks", "90 seconds", "9999 years", "x"]),
    "scan_code": st.sampled_from(["MOST_ACTIVE", "TOP_PERC_LOSE", "x"]),
    "instrument": st.sampled_from(["STK", "FUT.US", "x"]),
    "providers": st.sampled_from(["BRFG+DJNL", "BRFG", "x"]),
    "number_of_ticks": st.integers(-1, 20),
    "tick_type": st.sampled_from(["Last", "BidAsk", "x"]),
    "account": st.sampled_from(["", "DUSIM0001", "x"]),
    "tags": st.sampled_from(["All", "NetLiquidation", "$LEDGER:ALL", ""]),
}  # fmt: skip
TYPES = ["MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MOC"]
CONDITIONS: list[tuple[OrderCondition, ...]] = [
    (), (), (),
    (PriceCondition("a", is_more=True, price=Decimal(1), con_id=265598), MarginCondition(percent=10)),
    (TimeCondition("o", is_more=True, time="20261123 10:00:05 US/Eastern"), VolumeCondition(volume=1, con_id=8314)),
    (PercentChangeCondition(change_percent=Decimal(-50), con_id=272093), ExecutionCondition(symbol="AAPL")),
]  # fmt: skip
CLASSES = [each for each in REQUESTS.classes if each is not StartApi]


@st.composite
def requests(draw: st.DrawFn) -> Any:
    cls = draw(st.sampled_from([*CLASSES, *[PlaceOrder] * 20]))
    request = draw(of_message(cls, 176))
    names = {field.name for field in fields(cls)}
    changes: dict[str, Any] = {}
    for name, values in sensible.items():
        if isinstance(getattr(request, name, None), int if name == "number_of_ticks" else str) and draw(st.booleans()):
            changes[name] = draw(values)
    if "contract" in names and draw(st.integers(0, 3)):
        changes["contract"] = draw(st.sampled_from(KNOWN))
    if "order_id" in names:
        changes["order_id"] = draw(st.integers(-1, 12))
    if cls is PlaceOrder and draw(st.integers(0, 5)):
        changes["order"] = replace(
            request.order,
            action=draw(st.sampled_from(["BUY", "SELL", "x"])),
            order_type=draw(st.sampled_from(TYPES)),
            tif=draw(st.sampled_from(["", "DAY", "GTC", "IOC", "FOK"])),
            total_quantity=draw(amounts) or Decimal(1), lmt_price=draw(amounts), aux_price=draw(amounts),
            trailing_percent=draw(amounts), parent_id=draw(st.integers(0, 5)), account="", e_trade_only=False,
            firm_quote_only=False, nbbo_price_cap=None, what_if=draw(st.booleans()), transmit=draw(st.booleans()),
            oca_group=draw(st.sampled_from(["", "g"])), conditions=draw(st.sampled_from(CONDITIONS)),
            conditions_cancel_order=draw(st.booleans()),
        )  # fmt: skip
    return replace(request, **changes)


@given(st.lists(st.tuples(requests(), st.integers(0, 2000)), max_size=15), st.sampled_from([157, 170, 176, 186, 200]))
@settings(max_examples=60)
def test_any_request_is_answered_or_refused(history, version) -> None:
    driver = Driver(tick_rate=5.0)
    session = driver.connect(1, version)
    for request, wait_ms in history:
        driver.ask(session, decode_request(encode_request(request, version), version))
        driver.run(wait_ms / 1000)
    for each in driver.sent[session]:
        encode_response(each, version)
    driver.truth()
