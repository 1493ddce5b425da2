"""Orders that are filled into forms: byte by byte what the library encodes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.core.ledger import OrderTerms
from services.gateway.shell import ib_forms
from services.gateway.shell.ib_forms import EncodedOrders, OrderForms
from services.gateway.shell.ib_library import load_library
from services.gateway.shell.ib_sent import contract_to_send, order_to_send
from services.gateway.shell.ib_wire import Answers, open_wire
from shared.messages.market import ContractInfo
from shared.messages.orders import Side

LIBRARY = load_library()
STOCK = ContractInfo(
    con_id=265598, name="AAPL", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD", multiplier=Decimal(1)
)
FUTURE = STOCK.model_copy(update={"sec_type": "FUT", "expiry": "20261218", "multiplier": Decimal(50)})
ORDER = OrderTerms(
    7, "cq1:abcdefghij0123456789:0", "DU1", 265598, Side.BUY, Decimal(10), "LMT", Decimal("101.25"), None, "DAY",
    outside_rth=False, transmit=True,
)  # fmt: skip


def wire_of(version: int) -> Any:
    nobody: Any = None  # nothing is written
    wire = open_wire(LIBRARY, Answers(101, "UTC"), nobody)
    wire._serverVersion, wire.connState = version, LIBRARY.client.CONNECTED
    return wire


def by_the_library(wire: Any, order: OrderTerms, contract: ContractInfo | None) -> bytes:
    wire.batch = []
    wire.placeOrder(
        order.order_id, contract_to_send(LIBRARY, contract, con_id=order.con_id), order_to_send(LIBRARY, order)
    )
    data, wire.batch = b"".join(wire.batch), None
    return data


NUMBERS = st.decimals(min_value="0.00000001", max_value=10**9, places=8) | st.sampled_from(
    [Decimal("1E+3"), Decimal("918273645.0123"), Decimal("817263549.0234"), Decimal(0), Decimal("-1.5"), Decimal(1)]
)
ORDERS = st.builds(
    OrderTerms,
    order_id=st.integers(1, 2**31 - 1),
    order_ref=st.text("abc:019 ü", min_size=1, max_size=40) | st.just("the reference of nobody"),
    account=st.sampled_from(["DU1", "U7654321"]),
    con_id=st.sampled_from([265598, 9]),
    side=st.sampled_from(Side),
    quantity=NUMBERS,
    order_type=st.sampled_from(["MKT", "LMT", "STP", "STP LMT"]),
    limit_price=st.none() | NUMBERS,
    stop_price=st.none() | NUMBERS,
    tif=st.sampled_from(["DAY", "GTC", "IOC"]),
    outside_rth=st.booleans(),
    transmit=st.booleans(),
    parent_id=st.sampled_from([0, 0, 6]),
    oca_group=st.sampled_from(["", "", "group"]),
)


@given(
    st.lists(st.tuples(ORDERS, st.sampled_from([None, STOCK, FUTURE])), max_size=6), st.sampled_from([157, 163, 176])
)
@settings(deadline=None)
def test_a_filled_form_is_what_the_library_encodes(
    orders: list[tuple[OrderTerms, ContractInfo | None]], version: int
) -> None:
    wire = wire_of(version)
    forms = OrderForms(LIBRARY, wire)
    for order, contract in orders:
        expected = by_the_library(wire, order, contract)
        assert forms.frame(order, contract) == expected  # by a form made for it
        assert forms.frame(order, contract) == expected  # by a form that was there
    assert wire.batch is None


def counted(monkeypatch: pytest.MonkeyPatch) -> tuple[OrderForms, list[OrderTerms]]:
    forms, asked = OrderForms(LIBRARY, wire_of(176)), []
    original = OrderForms._encoded

    def encoded(self: OrderForms, order: OrderTerms, contract: ContractInfo | None) -> bytes:
        asked.append(order)
        return original(self, order, contract)

    monkeypatch.setattr(OrderForms, "_encoded", encoded)
    return forms, asked


def test_orders_of_a_kind_ask_the_library_once(monkeypatch: pytest.MonkeyPatch) -> None:
    forms, asked = counted(monkeypatch)
    for number in range(5):
        forms.frame(replace(ORDER, order_id=number, quantity=Decimal(number + 1), order_ref=f"r{number}"), STOCK)
    assert len(asked) == 1 and asked[0].order_id not in range(5)
    forms.frame(replace(ORDER, side=Side.SELL), STOCK)
    forms.frame(replace(ORDER, order_type="MKT", limit_price=None), STOCK)
    assert len(asked) == 3
    forms.frame(ORDER, STOCK.model_copy(update={"exchange": "IBKRATS"}))  # the contract's definition changed
    assert len(asked) == 4


def test_legs_of_a_group_and_texts_without_a_place_of_their_own_are_left_to_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forms, asked = counted(monkeypatch)
    for order in (replace(ORDER, parent_id=6), replace(ORDER, oca_group="group")):
        forms.frame(order, STOCK)
        assert asked[-1] is order
    last = replace(ORDER, order_id=(1 << 31) - 1)  # the wire's "no number"
    assert forms.frame(last, STOCK) == by_the_library(wire_of(176), last, STOCK) and asked[-1] is last
    odd = replace(ORDER, account="1987654321")  # what a form would take for its order id
    assert forms.frame(odd, STOCK) == by_the_library(wire_of(176), odd, STOCK)
    assert asked[-1] is odd and not forms._forms


def test_forms_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ib_forms, "MAX_FORMS", 3)
    forms = OrderForms(LIBRARY, wire_of(176))
    for con_id in range(10):
        forms.frame(replace(ORDER, con_id=con_id), None)
        assert len(forms._forms) <= 3


def test_what_was_encoded_says_which_orders_it_is() -> None:
    encoded = EncodedOrders.of(OrderForms(LIBRARY, wire_of(176)), [ORDER], STOCK)
    assert encoded.says([ORDER], STOCK) and not encoded.says([ORDER], None)
    assert not encoded.says([replace(ORDER, quantity=Decimal(11))], STOCK)
    assert encoded.data == by_the_library(wire_of(176), ORDER, STOCK)
