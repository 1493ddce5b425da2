"""Say what the broker's own books show, independent of what any client was told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.simulator.core.account import Account
from services.simulator.core.orders import BrokerOrder

if TYPE_CHECKING:
    from services.simulator.core.engine import Engine


def truth(engine: Engine, *, with_orders: bool = True) -> dict[str, Any]:
    """Return accounts, counts and, unless told otherwise, every order and execution; amounts are texts."""
    floor = engine.floor
    book = engine.orders.book
    twice = floor.ledger.sent_twice()
    orders = book.by_perm.values()
    answer: dict[str, Any] = {
        "now_ns": floor.now_ns,
        "simulated": True,
        "accounts": {name: _account(engine, account) for name, account in engine.accounts.items()},
        "sessions": [
            {"session": each.session, "client_id": each.client_id, "version": each.version, "peer": each.peer}
            for each in floor.sessions.by_session.values()
        ],
        "counts": {
            **floor.ledger.counts,
            "orders": len(orders),
            "open_orders": sum(1 for each in orders if each.is_active),
            "filled_orders": sum(1 for each in orders if each.status == "Filled"),
            "executions": len(engine.executions.all),
            "orders_sent_twice": len(twice),
        },
        "orders_sent_twice": twice,
        "faults": floor.faults.now(),
    }
    if with_orders:
        current = {each.exec_id for each in engine.executions.current()}
        answer["orders"] = [_order(each) for each in orders]
        answer["executions"] = [
            {
                "exec_id": each.exec_id, "ts_ns": each.ts_ns, "perm_id": each.perm_id, "client_id": each.client_id,
                "order_id": each.order_id, "order_ref": each.order_ref, "account": each.account,
                "con_id": each.contract.con_id, "symbol": each.contract.symbol,
                "side": "BOT" if each.side > 0 else "SLD", "shares": str(each.shares), "price": str(each.price),
                "commission": str(each.commission),
                "realized": None if each.realized is None else str(each.realized),
                "is_current": each.exec_id in current,
            }
            for each in engine.executions.all
        ]  # fmt: skip
    return answer


def _account(engine: Engine, account: Account) -> dict[str, Any]:
    summary = engine.orders.fills.summary(account)
    return {
        "cash": {currency: str(amount) for currency, amount in account.cash.items()},
        "commissions": str(account.commissions),
        "net_liquidation": str(round(summary.net_liquidation, 2)),
        "realized": str(round(summary.realized, 6)),
        "unrealized": str(round(summary.unrealized, 6)),
        "positions": {
            str(con_id): {
                "symbol": holding.instrument.symbol,
                "quantity": str(holding.quantity),
                "average_cost": str(holding.average_cost),
                "realized": str(holding.realized),
            }
            for con_id, holding in account.holdings.items()
            if holding.quantity
        },
    }


def _order(order: BrokerOrder) -> dict[str, Any]:
    return {
        "perm_id": order.perm_id,
        "client_id": order.client_id,
        "order_id": order.order_id,
        "order_ref": order.order.order_ref,
        "account": order.account,
        "con_id": order.instrument.con_id,
        "symbol": order.instrument.symbol,
        "action": order.order.action,
        "quantity": str(order.order.total_quantity),
        "order_type": order.order.order_type,
        "limit": None if order.order.lmt_price is None else str(order.order.lmt_price),
        "stop": None if order.order.aux_price is None else str(order.order.aux_price),
        "tif": order.order.tif or "DAY",
        "status": "Held" if order.is_held else order.status,
        "filled": str(order.filled),
        "average_price": str(round(order.average_price, 8)),
        "received_ns": order.received_ns,
        "is_manual": order.is_manual,
    }
