"""Know enough of positions and working orders to tell whether an order can only reduce, while the latch holds.

A halt must not disarm protection: an order that reduces in the worst case of everything that already works passes (P6,
P7). What is not known is not a reduction.

Invariants:
1. Until the broker has ended its lists of open orders and of positions in a trading session, nothing reduces.
2. Quantity leaves "working" into the position, by its execution, or by the end of the order; never by a status alone.
3. A change that makes an order smaller and leaves its type and prices alone reduces what may happen, whatever is held.
4. After an execution the smaller of what the position messages and what the executions say is what can be closed, until
   the messages agree.

Known limit: orders of others that TWS never showed to the trading session (it asks for all open orders when it takes
over) are not counted.

Source: ib-facts A.3, A.5, A.6, A.8; architecture §4 (risk's book).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from shared.tws.order import TwsOrder
from shared.tws.requests import PlaceOrder
from shared.tws.responses import (
    ExecDetails,
    OpenOrder,
    OpenOrderEnd,
    OrderStatus,
    PortfolioValue,
    Position,
    PositionEnd,
    Response,
)

OrderKey = tuple[int, int]
"""Client id and order id."""
Holding = tuple[str, int]
"""Account and contract id."""
WATCHED: frozenset[int] = frozenset({3, 5, 7, 11, 53, 61, 62})
"""Message ids of what `observe` understands."""
_ENDED = frozenset({"Cancelled", "ApiCancelled", "Inactive", "Filled"})
_SIGNS = {"BUY": 1, "SELL": -1}
_MAX_EXECUTIONS = 100_000
_PLAIN = frozenset({"MKT", "LMT", "STP", "STPLMT"})
_Terms = tuple[str, Decimal | None, Decimal | None] | None
"""Type, limit price and stop price of a plain order; None if it is another, or a change of them is under way."""


@dataclass(slots=True)
class _Working:
    holding: Holding
    sign: int
    total: Decimal
    executed: Decimal = Decimal(0)
    terms: _Terms = None

    @property
    def open(self) -> Decimal:
        return max(self.total - self.executed, Decimal(0))


@dataclass(slots=True)
class _Held:
    told: Decimal
    """By the last position message."""
    counted: Decimal
    """The same, moved by executions since."""
    has_executions: bool = False


@dataclass(slots=True)
class Exposure:
    """Positions and working orders as the trading sessions have seen them."""

    _working: dict[OrderKey, _Working] = field(default_factory=dict)
    _held: dict[Holding, _Held] = field(default_factory=dict)
    _executions: dict[str, None] = field(default_factory=dict)
    _has_orders: bool = False
    _has_positions: bool = False

    def session_started(self, client_id: int, others: frozenset[int]) -> None:
        """Forget what a new trading session will be told again; `others` are client ids whose sessions go on."""
        self._working = {key: order for key, order in self._working.items() if key[0] in others and key[0] != client_id}
        self._has_orders = self._has_positions = False
        self._held.clear()

    def sent(self, client_id: int, request: PlaceOrder) -> None:
        """Count an order from the moment it is forwarded; a modify counts the larger of old and new until confirmed."""
        order, key = request.order, (client_id, request.order_id)
        if order.what_if or order.action not in _SIGNS:
            return
        was = self._working.get(key)
        total = max(order.total_quantity, was.total) if was else order.total_quantity
        holding, executed, terms = (order.account, request.contract.con_id), Decimal(0), _terms(order)
        if was is not None:
            executed, terms = was.executed, terms if terms == was.terms else None
        self._working[key] = _Working(holding, _SIGNS[order.action], total, executed, terms)

    def observe(self, message: Response) -> None:
        """Take a message of the broker to a trading session."""
        if isinstance(message, OpenOrder):
            self._open_order(message)
        elif isinstance(message, OrderStatus):
            self._status(message)
        elif isinstance(message, ExecDetails):
            self._execution(message)
        elif isinstance(message, Position | PortfolioValue):
            self._position((message.account, message.contract.con_id), message.position)
        elif isinstance(message, OpenOrderEnd):
            self._has_orders = True
        elif isinstance(message, PositionEnd):
            self._has_positions = True

    def reduces(self, client_id: int, request: PlaceOrder) -> bool:
        """Tell whether the order can only bring its position closer to zero, whatever fills first."""
        order, contract = request.order, request.contract
        sign = _SIGNS.get(order.action)
        known = self._has_orders and self._has_positions and bool(contract.con_id) and bool(order.account)
        if not known or sign is None or contract.sec_type == "BAG" or order.cash_qty is not None:
            return False
        holding = (order.account, contract.con_id)
        held = self._held.get(holding)
        if order.total_quantity <= 0:
            return False
        if self._only_shrinks(client_id, request):
            return True
        if held is None:
            return False
        closable = min(-sign * held.told, -sign * held.counted)
        others = sum(
            (
                working.open
                for key, working in self._working.items()
                if working.holding == holding and working.sign == sign and key != (client_id, request.order_id)
            ),
            Decimal(0),
        )
        old = self._working.get((client_id, request.order_id))
        if old is not None and (old.holding != holding or old.sign != sign):
            return False
        quantity = max(order.total_quantity - old.executed, old.open) if old else order.total_quantity
        return others + quantity <= closable

    def _only_shrinks(self, client_id: int, request: PlaceOrder) -> bool:
        old, order = self._working.get((client_id, request.order_id)), request.order
        return (
            old is not None
            and old.holding == (order.account, request.contract.con_id)
            and old.sign == _SIGNS[order.action]
            and order.total_quantity <= old.total
            and old.terms is not None
            and _terms(order) == old.terms
        )

    def _open_order(self, message: OpenOrder) -> None:
        order, key = message.order, (message.client_id, message.order_id)
        if order.what_if or order.action not in _SIGNS:
            return
        if message.state.status in _ENDED:
            return  # the status or the executions will say how much of it was filled
        was = self._working.get(key)
        executed = was.executed if was else Decimal(0)
        holding = (order.account, message.contract.con_id)
        self._working[key] = _Working(holding, _SIGNS[order.action], order.total_quantity, executed, _terms(order))

    def _status(self, message: OrderStatus) -> None:
        key = (message.client_id, message.order_id)
        working = self._working.get(key)
        if working is None:
            return
        if message.status in _ENDED:
            # what was filled but not yet shown as an execution goes on counting as working
            working.total = min(working.total, max(message.filled, working.executed))
            if not working.open:
                del self._working[key]

    def _execution(self, message: ExecDetails) -> None:
        stem = message.exec_id.rpartition(".")[0] or message.exec_id
        if stem in self._executions or message.req_id != -1:
            return  # an answer to a request repeats what the positions contain already
        self._executions[stem] = None
        if len(self._executions) > _MAX_EXECUTIONS:
            del self._executions[next(iter(self._executions))]
        holding = (message.account, message.contract.con_id)
        signed = message.shares if message.side == "BOT" else -message.shares
        held = self._held.setdefault(holding, _Held(Decimal(0), Decimal(0)))
        held.counted += signed
        held.has_executions = True
        key = (message.client_id, message.order_id or 0)
        if (working := self._working.get(key)) is not None:
            working.executed += message.shares
            if not working.open:
                del self._working[key]

    def _position(self, holding: Holding, quantity: Decimal) -> None:
        held = self._held.get(holding)
        if held is None:
            self._held[holding] = _Held(quantity, quantity)
            return
        held.told = quantity
        if not held.has_executions or quantity == held.counted:
            held.counted = quantity
        held.has_executions = False


def _terms(order: TwsOrder) -> _Terms:
    kind = order.order_type.replace(" ", "")
    if kind not in _PLAIN or order.conditions:
        return None
    return kind, order.lmt_price or None, order.aux_price or None
