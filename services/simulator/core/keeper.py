"""Have the exchange's state stored as it changes, and take it back when the exchange opens again.

Invariant: what a turn changed is among that turn's effects, so that it is stored before anybody is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.simulator.core.account import Account
from services.simulator.core.account_events import AccountEvents
from services.simulator.core.contracts import Instrument
from services.simulator.core.executions import Executions
from services.simulator.core.floor import Floor, Save
from services.simulator.core.order_desk import OrderDesk
from services.simulator.core.persistence import (
    account_to_dict,
    execution_from_dict,
    execution_to_dict,
    order_from_dict,
    order_to_dict,
    restore_account,
)


class Keeper:
    """What has been stored of one exchange."""

    def __init__(
        self,
        floor: Floor,
        orders: OrderDesk,
        executions: Executions,
        accounts: Mapping[str, Account],
        events: AccountEvents,
        watch: Callable[[Instrument], None],
        *,
        is_on: bool,
    ) -> None:
        """`watch` opens a contract's market; unless `is_on` nothing is stored."""
        self._floor = floor
        self._orders = orders
        self._executions = executions
        self._accounts = accounts
        self._events = events
        self._watch = watch
        self._is_on = is_on
        self._saved_executions = 0
        self._saved_ids: dict[int, int] = {}

    def save(self) -> None:
        """Ask for everything to be stored that is newer than what was."""
        floor = self._floor
        if not self._is_on:
            self._orders.book.dirty.clear()
            floor.touched_accounts.clear()
            return
        for order in self._orders.book.take_dirty():
            floor.effect(Save("order", str(order.perm_id), order_to_dict(order)))
        if len(self._executions.all) > self._saved_executions:
            for execution in self._executions.all[self._saved_executions :]:
                floor.effect(Save("execution", execution.exec_id, execution_to_dict(execution)))
            self._saved_executions = len(self._executions.all)
            floor.touched_accounts.update(self._accounts)
        for name in sorted(floor.touched_accounts):
            floor.effect(Save("account", name, account_to_dict(self._accounts[name])))
        floor.touched_accounts.clear()
        if self._saved_ids != floor.sessions.next_order_ids:
            for client_id, order_id in floor.sessions.next_order_ids.items():
                if self._saved_ids.get(client_id) != order_id:
                    floor.effect(Save("next_order_id", str(client_id), {"next": order_id}))
            self._saved_ids = dict(floor.sessions.next_order_ids)

    def restore(self, kind: str, key: str, value: dict[str, Any]) -> None:
        """Take back a stored piece of state; for all of them before the first session opens."""
        floor, universe = self._floor, self._floor.universe
        if kind == "listing":
            self._events.restore_listing(int(key), value)
        elif kind == "order":
            order = order_from_dict(value, universe)
            if order is not None:
                self._orders.life.restore(order)
        elif kind == "execution":
            self._executions.restore(execution_from_dict(value, universe))
            self._saved_executions = len(self._executions.all)
        elif kind == "account" and key in self._accounts:
            restore_account(self._accounts[key], value, universe)
            for holding in self._accounts[key].holdings.values():
                if holding.quantity:
                    self._watch(holding.instrument)
        elif kind == "dividend":
            self._events.accrue(key, value)
        elif kind == "next_order_id":
            floor.sessions.next_order_ids[int(key)] = value["next"]
            self._saved_ids[int(key)] = value["next"]
