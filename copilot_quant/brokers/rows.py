"""The dicts and arguments of the guide's broker: what the system knows, as plain values.

Money and prices are floats here, for people and notebooks; nothing computed from them goes back into the system
except through `ticket_of`, which makes decimals of what was written.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from copilot_quant.desk import OrderResult, OrderTicket
from services.strategy.core.guide_orders import checked_prices, one_of, positive
from services.strategy.core.ordering import Number
from shared.clock import iso_utc
from shared.ids import MANUAL
from shared.messages.account import PositionReport
from shared.messages.market import ContractInfo
from shared.messages.orders import Fill, OrderEvent, Side, TimeInForce


def balance_of(values: dict[str, str]) -> dict[str, float]:
    """Return the numbers among account values by tag, in the base currency."""
    base = next((name.partition(":")[2] for name in values if name.startswith("NetLiquidation:")), "")
    found: dict[str, float] = {}
    for name, text in values.items():
        tag, _, currency = name.partition(":")
        if currency in ("", base):
            try:
                found[tag] = float(text)
            except ValueError:
                continue  # AccountCode, AccountReady: words
    return found


def number(value: Decimal | None) -> int | float | None:
    """Return whole numbers as int, others as float."""
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


def position_row(report: PositionReport) -> dict[str, Any]:
    """Return a position as the guide shows it."""
    return {
        "symbol": report.symbol or report.contract,
        "position": number(report.position),
        "avg_cost": float(report.average_cost),
        "market_price": _float(report.market_price),
        "unrealized_pnl": _float(report.unrealized_pnl),
        "realized_pnl": _float(report.realized_pnl),
        "currency": report.currency,
        "contract": report.contract,
        "con_id": report.con_id,
    }


def order_row(event: OrderEvent) -> dict[str, Any]:
    """Return what is known of an order."""
    return {
        "order_id": event.own_intent_id,
        "leg": event.leg,
        "symbol": _symbol(event.contract),
        "contract": event.contract,
        "side": event.side.value.lower(),
        "quantity": number(event.quantity),
        "order_type": event.order_type,
        "limit_price": _float(event.limit_price),
        "stop_price": _float(event.stop_price),
        "tif": event.tif,
        "outside_rth": event.outside_rth,
        "status": event.state.value,
        "filled": number(event.filled),
        "avg_fill_price": _float(event.average_price),
        "by": event.by,
        "code": event.code,
        "message": event.text,
        "strategy": event.strategy,
        "perm_id": event.perm_id,
    }


def fill_row(fill: Fill) -> dict[str, Any]:
    """Return an execution."""
    return {
        "time": iso_utc(fill.ts_event_ns),
        "symbol": _symbol(fill.contract),
        "contract": fill.contract,
        "side": fill.side.value.lower(),
        "quantity": number(fill.quantity),
        "price": float(fill.price),
        "strategy": fill.strategy,
        "order_id": fill.own_intent_id,
        "exec_id": fill.exec_id,
    }


def receipt(result: OrderResult, info: ContractInfo, ticket: OrderTicket) -> dict[str, Any]:
    """Return the answer to an order."""
    return {
        "order_id": result.intent_id,
        "symbol": info.symbol,
        "contract": info.name,
        "side": ticket.side.value.lower(),
        "quantity": number(ticket.quantity),
        "order_type": ticket.order_type.value,
        "status": result.state,
        "filled": number(result.filled),
        "avg_fill_price": _float(result.average_price),
        "by": result.by,
        "code": result.code,
        "message": result.text,
    }


def ticket_of(
    quantity: Number,
    order_type: str,
    side: str,
    prices: dict[str, Number | None],
    *,
    tif: str = "DAY",
    outside_rth: bool = False,
    strategy: str = MANUAL,
    reason: str = "",
) -> OrderTicket:
    """Return the ticket that a call of `execute_order` means.

    Raises:
        BadInput: it cannot be an order; the sentence says which argument.
    """
    given = checked_prices(order_type, prices)
    return OrderTicket(
        side=one_of(Side, "side", side),
        quantity=positive("quantity", quantity),
        tif=one_of(TimeInForce, "tif", tif),
        outside_rth=outside_rth,
        strategy=strategy,
        reason=reason,
        **given,
    )


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _symbol(name: str) -> str:
    """Return the short form of a contract's name: AAPL of AAPL@NASDAQ."""
    return name.partition("@")[0]
