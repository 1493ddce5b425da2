"""What we send, as the broker library's objects: exact, and with nothing that was not asked for."""

from __future__ import annotations

from decimal import Decimal

from services.gateway.core.ledger import ClaimedOrder
from services.gateway.shell.ib_library import load_library
from services.gateway.shell.ib_sent import contract_to_send, name_to_send, order_to_send, utc_text, what_if_to_send
from shared.contracts import parse_contract
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderLeg, OrderType, Side

LIBRARY = load_library()


def test_an_order_carries_account_reference_and_exact_numbers() -> None:
    order = ClaimedOrder(
        order_id=7, order_ref="cqref", account="DU1", con_id=1, side=Side.SELL, quantity=Decimal("0.00000001"),
        order_type="STP LMT", limit_price=Decimal("1E+3"), stop_price=Decimal("0.10"), tif="GTC", outside_rth=True,
        transmit=False, parent_id=6, oca_group="group",
    )  # fmt: skip
    made = order_to_send(LIBRARY, order)
    assert (made.orderId, made.orderRef, made.account, made.action) == (7, "cqref", "DU1", "SELL")
    assert (made.totalQuantity, made.lmtPrice, made.auxPrice) == ("0.00000001", "1000", "0.10")
    assert (made.tif, made.outsideRth, made.transmit, made.parentId) == ("GTC", True, False, 6)
    assert (made.ocaGroup, made.ocaType, made.whatIf) == ("group", 1, False)


def test_a_known_contract_goes_by_its_id_and_route() -> None:
    info = ContractInfo(
        con_id=9, name="AAPL", symbol="AAPL", sec_type="STK", exchange="", currency="USD", multiplier=Decimal(1)
    )
    made = contract_to_send(LIBRARY, info)
    assert (made.conId, made.exchange, made.multiplier, made.lastTradeDateOrContractMonth) == (9, "SMART", "", "")
    unknown = contract_to_send(LIBRARY, None, con_id=9)
    assert (unknown.conId, unknown.exchange, unknown.symbol) == (9, "SMART", "")
    future = info.model_copy(update={"sec_type": "FUT", "expiry": "20261218", "multiplier": Decimal(50)})
    made = contract_to_send(LIBRARY, future)
    assert (made.multiplier, made.lastTradeDateOrContractMonth) == ("50", "20261218")


def test_a_name_asks_for_what_it_says() -> None:
    assert name_to_send(LIBRARY, parse_contract("#265598")).conId == 265598
    made = name_to_send(LIBRARY, parse_contract("OPT:SPY:20261218:500C"))
    assert (made.symbol, made.strike, made.right, made.conId) == ("SPY", 500.0, "C", 0)


def test_only_a_what_if_carries_the_flag_and_no_reference_of_ours() -> None:
    leg = OrderLeg(side=Side.BUY, quantity=Decimal(5), order_type=OrderType.LIMIT, limit_price=Decimal("1.50"))
    made = what_if_to_send(LIBRARY, leg, "DU1", 9)
    assert (made.whatIf, made.transmit, made.orderRef, made.account) == (True, True, "", "DU1")
    assert (made.totalQuantity, made.lmtPrice, made.orderType) == ("5", "1.50", "LMT")


def test_a_moment_goes_as_utc_in_whole_seconds() -> None:
    assert utc_text(0) == ""
    assert utc_text(1_795_697_999_999_999_999) == "20261126-12:59:59"
