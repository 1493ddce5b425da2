"""Turn what we send into the broker library's objects: claimed orders and contracts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.gateway.core.ledger import OrderTerms
from services.gateway.shell.ib_library import Library
from shared.clock import NS_PER_S
from shared.contracts import ContractName
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderLeg


def plain_text(value: Decimal) -> str:
    """Return a number as exact text without an exponent."""
    return format(value, "f")


def order_to_send(library: Library, order: OrderTerms) -> Any:
    """Return an order to encode; quantities and prices go as exact text."""
    made = library.order()
    fields = dict(
        orderId=order.order_id,
        action=str(order.side),
        totalQuantity=plain_text(order.quantity),
        orderType=str(order.order_type),
        tif=str(order.tif),
        orderRef=order.order_ref,
        account=order.account,
        transmit=order.transmit,
        outsideRth=order.outside_rth,
        parentId=order.parent_id,
    )
    for name, value in fields.items():
        setattr(made, name, value)  # quantities and prices as exact text: the encoder passes text through
    if order.limit_price is not None:
        made.lmtPrice = plain_text(order.limit_price)
    if order.stop_price is not None:
        made.auxPrice = plain_text(order.stop_price)
    if order.oca_group:
        made.ocaGroup, made.ocaType = order.oca_group, 1
    return made


def what_if_to_send(library: Library, leg: OrderLeg, account: str, order_id: int) -> Any:
    """Return an order that only asks: alone sets the flag, which the guard reads too; it is never a `ClaimedOrder`."""
    made = library.order()
    made.whatIf, made.transmit = True, True
    made.orderId, made.account, made.action = order_id, account, str(leg.side)
    made.totalQuantity, made.orderType, made.tif = plain_text(leg.quantity), str(leg.order_type), str(leg.tif)
    made.outsideRth = leg.outside_rth
    if leg.limit_price is not None:
        made.lmtPrice = plain_text(leg.limit_price)
    if leg.stop_price is not None:
        made.auxPrice = plain_text(leg.stop_price)
    return made


def contract_to_send(library: Library, info: ContractInfo | None, *, con_id: int = 0) -> Any:
    """Return a contract that is known, else one that its id alone names: the broker says if that is not enough."""
    if info is None:
        return library.contract(conId=con_id, exchange="SMART")
    return library.contract(
        conId=info.con_id,
        symbol=info.symbol,
        secType=info.sec_type,
        lastTradeDateOrContractMonth=info.expiry if info.sec_type in ("FUT", "OPT", "FOP") else "",
        strike=float(info.strike or 0),
        right=info.right,
        multiplier=plain_text(info.multiplier) if info.sec_type in ("FUT", "OPT", "FOP") else "",
        exchange=info.exchange or "SMART",
        currency=info.currency,
        localSymbol=info.local_symbol if info.sec_type in ("FUT", "OPT", "FOP") else "",
    )


def name_to_send(library: Library, name: ContractName) -> Any:
    """Return what a name asks for; the broker says what it could mean."""
    if name.con_id is not None:
        return library.contract(conId=int(name.con_id))
    return library.contract(
        symbol=name.symbol,
        secType=name.sec_type,
        exchange=name.exchange,
        primaryExchange=name.primary_exchange,
        currency=name.currency,
        lastTradeDateOrContractMonth=name.expiry,
        strike=float(name.strike or 0),
        right=name.right,
    )


def generic_ticks(contract: ContractInfo) -> str:
    """Return the generic ticks to ask for with a contract's prices: of stocks, the shares to borrow (236)."""
    return "236" if contract.sec_type == "STK" else ""


def utc_text(at_ns: int) -> str:
    """Return a moment as TWS reads it without a zone of its own; nothing for 0."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y%m%d-%H:%M:%S") if at_ns else ""
