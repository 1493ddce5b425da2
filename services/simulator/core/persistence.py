"""Turn orders, executions and accounts into plain values that can be stored, and back.

An order's own fields are stored as the placeOrder frame that carried them, so that the codec alone knows them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.simulator.core.account import Account, Holding
from services.simulator.core.combos import as_ordered
from services.simulator.core.contracts import NotFound, Universe
from services.simulator.core.executions import Execution
from services.simulator.core.matching import Working
from services.simulator.core.order_rules import discretion_of
from services.simulator.core.orders import BrokerOrder
from shared.tws.contract import TwsContract
from shared.tws.requests import PlaceOrder, decode_request, encode_request

STORED_VERSION = 176
_ORDER_FLAGS = (
    "status", "is_held", "waits_for_parent", "cancel_requested", "is_manual", "is_at_exchange", "done_ns", "done_text",
    "fills", "account", "received_ns", "perm_id", "client_id", "order_id", "expires_ns", "starts_ns",
    "are_conditions_met", "is_liquidation",
)  # fmt: skip
_ORDER_AMOUNTS = ("filled", "paid", "last_price", "commission")


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def order_to_dict(order: BrokerOrder) -> dict[str, Any]:
    """Return an order as plain values."""
    if order.frame is None or order.frame[0] is not order.order:
        placed = PlaceOrder(order.order_id, order.contract, order.order)
        order.frame = (order.order, encode_request(placed, STORED_VERSION).decode())
    working = order.working
    change = None
    if order.change is not None:
        change = encode_request(PlaceOrder(order.order_id, order.contract, order.change), STORED_VERSION).decode()
    return {
        "frame": order.frame[1],
        "change": change,
        "exchange": order.contract.exchange,
        **{name: getattr(order, name) for name in _ORDER_FLAGS},
        **{name: str(getattr(order, name)) for name in _ORDER_AMOUNTS},
        "working": {
            "side": working.side,
            "limit": _text(working.limit),
            "stop": _text(working.stop),
            "trail": _text(working.trail),
            "trail_percent": _text(working.trail_percent),
            "limit_offset": _text(working.limit_offset),
            "is_triggered": working.is_triggered,
            "is_resting": working.is_resting,
            "queue_ahead": working.queue_ahead,
        },
    }


def order_from_dict(stored: dict[str, Any], universe: Universe) -> BrokerOrder | None:
    """Return the order, or None if its contract is not listed any more."""
    placed = decode_request(stored["frame"].encode(), STORED_VERSION)
    if not isinstance(placed, PlaceOrder):
        return None
    instrument = universe.by_id(placed.contract.con_id)
    if placed.contract.sec_type == "BAG":
        found = universe.resolve(placed.contract)
        instrument = None if isinstance(found, NotFound) else found.instrument
    if instrument is None:
        return None
    contract = instrument.contract(stored["exchange"])
    if instrument.legs:
        contract = as_ordered(instrument, placed.contract, stored["exchange"])
    parts = stored["working"]
    order = BrokerOrder(
        contract=contract,
        instrument=instrument,
        order=placed.order,
        working=Working(
            side=parts["side"],
            order_type=placed.order.order_type,
            tif=placed.order.tif or "DAY",
            remaining=placed.order.total_quantity - Decimal(stored["filled"]),
            limit=_number(parts["limit"]),
            stop=_number(parts["stop"]),
            trail=_number(parts["trail"]),
            trail_percent=_number(parts["trail_percent"]),
            limit_offset=_number(parts["limit_offset"]),
            is_triggered=parts["is_triggered"],
            is_resting=parts["is_resting"],
            queue_ahead=parts["queue_ahead"],
            all_or_none=placed.order.all_or_none,
            minimum=Decimal(placed.order.min_qty or 0) if not Decimal(stored["filled"]) else Decimal(0),
            discretion=discretion_of(placed.order),
        ),
        **{name: stored[name] for name in _ORDER_FLAGS if name in stored},
    )
    for name in _ORDER_AMOUNTS:
        setattr(order, name, Decimal(stored[name]))
    changed = decode_request(stored["change"].encode(), STORED_VERSION) if stored.get("change") else None
    if isinstance(changed, PlaceOrder):
        order.change = changed.order
    return order


_EXECUTION_AMOUNTS = ("shares", "price", "cum_qty", "avg_price", "commission")
_EXECUTION_PLAIN = (
    "exec_id", "ts_ns", "perm_id", "client_id", "order_id", "order_ref", "account", "exchange", "side", "liquidity",
    "currency", "is_manual", "is_liquidation",
)  # fmt: skip


def execution_to_dict(execution: Execution) -> dict[str, Any]:
    """Return an execution as plain values."""
    return {
        **{name: getattr(execution, name) for name in _EXECUTION_PLAIN},
        **{name: str(getattr(execution, name)) for name in _EXECUTION_AMOUNTS},
        "realized": _text(execution.realized),
        "con_id": execution.contract.con_id,
        "route": execution.contract.exchange,
    }


def execution_from_dict(stored: dict[str, Any], universe: Universe) -> Execution:
    """Return the execution; a contract that is not listed any more keeps its conId only."""
    instrument = universe.by_id(stored["con_id"])
    contract = instrument.contract(stored["route"]) if instrument else TwsContract(con_id=stored["con_id"])
    amounts: dict[str, Any] = {name: Decimal(stored[name]) for name in _EXECUTION_AMOUNTS}
    plain = {name: stored[name] for name in _EXECUTION_PLAIN if name in stored}
    return Execution(contract=contract, realized=_number(stored["realized"]), **plain, **amounts)


def account_to_dict(account: Account) -> dict[str, Any]:
    """Return an account as plain values."""
    return {
        "cash": {currency: str(amount) for currency, amount in account.cash.items()},
        "commissions": str(account.commissions),
        "previous_equity": str(account.previous_equity),
        "holdings": {
            str(con_id): [
                str(holding.quantity), str(holding.cost), str(holding.realized), str(holding.realized_today),
            ]
            for con_id, holding in account.holdings.items()
        },
    }  # fmt: skip


def restore_account(account: Account, stored: dict[str, Any], universe: Universe) -> None:
    """Put stored values into an account."""
    account.cash = {currency: Decimal(amount) for currency, amount in stored["cash"].items()}
    account.commissions = Decimal(stored["commissions"])
    account.previous_equity = Decimal(stored["previous_equity"])
    for con_id, (quantity, cost, realized, realized_today) in stored["holdings"].items():
        instrument = universe.by_id(int(con_id))
        if instrument is not None:
            account.holdings[int(con_id)] = Holding(
                instrument, Decimal(quantity), Decimal(cost), Decimal(realized), Decimal(realized_today)
            )
