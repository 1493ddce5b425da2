"""Turn what we send into the broker library's objects: claimed orders and contracts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.gateway.core.ledger import ClaimedOrder
from services.gateway.shell.ib_library import Library
from shared.contracts import ContractName
from shared.messages.market import ContractInfo


def _text(value: Decimal) -> str:
    return format(value, "f")


def order_to_send(library: Library, order: ClaimedOrder) -> Any:
    """Return a claimed order; quantities and prices go as exact text."""
    made = library.order()
    fields = dict(
        orderId=order.order_id,
        action=str(order.side),
        totalQuantity=_text(order.quantity),
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
        made.lmtPrice = _text(order.limit_price)
    if order.stop_price is not None:
        made.auxPrice = _text(order.stop_price)
    if order.oca_group:
        made.ocaGroup, made.ocaType = order.oca_group, 1
    return made


def contract_to_send(library: Library, info: ContractInfo) -> Any:
    """Return a contract that is known."""
    return library.contract(
        conId=info.con_id,
        symbol=info.symbol,
        secType=info.sec_type,
        lastTradeDateOrContractMonth=info.expiry if info.sec_type in ("FUT", "OPT", "FOP") else "",
        strike=float(info.strike or 0),
        right=info.right,
        multiplier=_text(info.multiplier) if info.sec_type in ("FUT", "OPT", "FOP") else "",
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
