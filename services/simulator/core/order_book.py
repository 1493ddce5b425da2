"""Index the broker's orders: by permId, by client and order id, by contract, by family.

Invariants:
1. `by_contract` holds exactly the orders that may still trade.
2. permIds only grow.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.simulator.core.orders import BrokerOrder

FIRST_PERM_ID = 1_250_000_001


class OrderBook:
    """All orders this broker has seen."""

    def __init__(self) -> None:
        self.by_perm: dict[int, BrokerOrder] = {}
        self.by_contract: dict[int, dict[int, BrokerOrder]] = {}
        self.dirty: dict[int, BrokerOrder] = {}
        """Orders whose stored state is older than this one."""
        self._by_client: dict[tuple[int, int], BrokerOrder] = {}
        self._children: dict[tuple[int, int], list[BrokerOrder]] = {}
        self._oca: dict[tuple[str, str], list[BrokerOrder]] = {}
        self._open: dict[int, BrokerOrder] = {}
        self._next_perm_id = FIRST_PERM_ID
        self._last_bound_id = 0

    def next_perm_id(self) -> int:
        """Return a fresh permId."""
        self._next_perm_id += 1
        return self._next_perm_id - 1

    def add(self, order: BrokerOrder) -> None:
        """Take an order into all indices but that of the working ones."""
        self._next_perm_id = max(self._next_perm_id, order.perm_id + 1)
        self._last_bound_id = min(self._last_bound_id, order.order_id)
        self.by_perm[order.perm_id] = order
        if not order.is_manual or order.order_id:  # orders by hand have an API order id only once they are bound
            self._by_client[(order.client_id, order.order_id)] = order
        if not order.is_done:
            self._open[order.perm_id] = order
        if order.order.parent_id:
            self._children.setdefault((order.client_id, order.order.parent_id), []).append(order)
        if order.order.oca_group:
            self._oca.setdefault((order.account, order.order.oca_group), []).append(order)
        self.dirty[order.perm_id] = order

    def bind(self, order: BrokerOrder) -> None:
        """Give an order by hand its own negative API order id."""
        self._last_bound_id -= 1
        order.order_id = self._last_bound_id
        self._by_client[(order.client_id, order.order_id)] = order
        self.dirty[order.perm_id] = order

    def add_working(self, order: BrokerOrder) -> None:
        """Let an order take part in matching."""
        self.by_contract.setdefault(order.instrument.con_id, {})[order.perm_id] = order

    def remove_working(self, order: BrokerOrder) -> None:
        """Take an order out of matching and out of the open ones."""
        self._open.pop(order.perm_id, None)
        working = self.by_contract.get(order.instrument.con_id)
        if working is not None:
            working.pop(order.perm_id, None)
            if not working:
                del self.by_contract[order.instrument.con_id]

    def forget(self, order: BrokerOrder) -> None:
        """Take an order out of everything, as if it had never come."""
        self.remove_working(order)
        self.by_perm.pop(order.perm_id, None)
        self.dirty.pop(order.perm_id, None)
        key = (order.client_id, order.order_id)
        if self._by_client.get(key) is order:
            del self._by_client[key]
        for family in (*self._children.values(), *self._oca.values()):
            if order in family:
                family.remove(order)

    def working(self, con_id: int) -> list[BrokerOrder]:
        """Return the orders of a contract that may trade."""
        return list(self.by_contract.get(con_id, {}).values())

    def of_client(self, client_id: int, order_id: int) -> BrokerOrder | None:
        """Return the order a client knows under this id."""
        return self._by_client.get((client_id, order_id))

    def open_orders(self) -> Iterator[BrokerOrder]:
        """Return orders that are not done, held ones too, oldest first."""
        return iter(list(self._open.values()))

    def children(self, parent: BrokerOrder) -> list[BrokerOrder]:
        """Return the orders attached to an order."""
        return self._children.get((parent.client_id, parent.order_id), [])

    def held_group(self, order: BrokerOrder) -> list[BrokerOrder]:
        """Return the held orders that leave TWS together with this one: its parent, and all children of that."""
        parent = self.of_client(order.client_id, order.order.parent_id) if order.order.parent_id else order
        if parent is None:
            return [order]
        return [each for each in (parent, *self.children(parent)) if each.is_held and not each.is_done]

    def oca_siblings(self, order: BrokerOrder) -> list[BrokerOrder]:
        """Return the open orders of the same OCA group, or the other children of the same parent."""
        if order.order.oca_group:
            others = self._oca.get((order.account, order.order.oca_group), [])
        elif order.order.parent_id:
            others = self._children.get((order.client_id, order.order.parent_id), [])
        else:
            return []
        return [each for each in others if each is not order and not each.is_done]

    def take_dirty(self) -> list[BrokerOrder]:
        """Return the orders that changed since the last call."""
        orders = list(self.dirty.values())
        self.dirty.clear()
        return orders
