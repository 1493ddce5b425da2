"""Close what strategies own, step by step: cancel a position's exits, then replace them by one order that closes it.

Invariants:
1. Every order asked for only reduces the account's position in the worst case, so it passes risk like any other (P7).
2. Slippage is bounded: limit orders, immediate or cancel, never worse than a share of the price at the beginning.
3. A stop is cancelled only where its close follows at once: where no price is known, it stays.
4. What no strategy owns is not touched, nor what people traded by hand: that is theirs to close.

Where strategies hold opposite sides of a contract, only what the account holds can be closed; the rest is flat already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from services.risk.core.exposure import Book
from services.risk.core.legs import Leg, OrderGroup
from services.risk.core.limits import Limits
from services.risk.core.positions import ContractExposure
from shared.ids import MANUAL
from shared.messages.orders import Side
from shared.money import ZERO

AGAIN_NS = 2_000_000_000
"""How long a cancel or a close may take before it is asked for again."""
SLIPPAGE_PERCENT = Decimal(2)
"""Where `market_slippage_percent` is unlimited: a flatten always has a bound."""


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel all legs of one order."""

    intent_id: str
    strategy: str


@dataclass(frozen=True, slots=True)
class CloseOrder:
    """Place one order that closes; quantities are positive."""

    strategy: str
    con_id: int
    side: Side
    quantity: Decimal
    limit_price: Decimal


@dataclass(slots=True)
class Closing:
    """One flatten under way. `scope` is `account`, `strategy:<name>` or `contract:<conId>`."""

    control_id: str
    scope: str
    who: str = ""
    reason: str = ""
    closes: dict[str, None] = field(default_factory=dict)
    """Intents of closes: they are waited for, not cancelled."""
    waiting: dict[int, str] = field(default_factory=dict)
    """Contracts that cannot be closed now, and why."""
    _marks: dict[int, Decimal] = field(default_factory=dict)
    _asked_ns: dict[str, int] = field(default_factory=dict)

    def step(self, book: Book, limits: Limits, now_ns: int) -> list[CancelOrder | CloseOrder]:
        """Return what to ask for now; nothing while answers are awaited, or when all is closed."""
        acts: list[CancelOrder | CloseOrder] = []
        self.waiting.clear()
        for contract in book.contracts.values():
            planned = {Side.BUY: ZERO, Side.SELL: ZERO}
            for strategy, quantity in owned(contract, self.scope):
                found = self._close(contract, strategy, quantity, limits, planned, now_ns)
                acts += found
                for act in found:
                    if isinstance(act, CloseOrder):
                        planned[act.side] += act.quantity
        return acts

    def _close(
        self, contract: ContractExposure, strategy: str, quantity: Decimal, limits: Limits,
        planned: dict[Side, Decimal], now_ns: int,
    ) -> list[CancelOrder | CloseOrder]:  # fmt: skip
        side = Side.SELL if quantity > ZERO else Side.BUY
        limit_set = limits.for_order(strategy, contract.con_id, contract.info)
        slippage = limit_set.market_slippage_percent
        price = self._worst_price(contract, side, SLIPPAGE_PERCENT if slippage is None else slippage)
        if price is None:
            self.waiting[contract.con_id] = "no price is known, so no limit can be set: its stops stay"
            return []
        working = [group for group in contract.groups.values() if self._is_in_the_way(group, strategy)]
        if working:
            due = [group for group in working if group.key not in self.closes and self._is_due(group.key, now_ns)]
            return [CancelOrder(group.key, group.strategy) for group in due]
        held = contract.position if side is Side.SELL else -contract.position
        room = held - (contract.sells if side is Side.SELL else contract.buys) - planned[side]
        if room <= ZERO < held:
            self.waiting[contract.con_id] = "orders by hand or of other programs close all that the account holds"
        amount = min(abs(quantity), room, *[one for one in [limit_set.order_quantity_max] if one is not None])
        if contract.info is not None and contract.info.size_increment > ZERO:
            amount -= amount % contract.info.size_increment
        if amount <= ZERO or not self._is_due(f"{strategy}:{contract.con_id}", now_ns):
            return []
        return [CloseOrder(strategy, contract.con_id, side, amount, price)]

    def _is_in_the_way(self, group: OrderGroup, strategy: str) -> bool:
        """Return whether an order must have ended first: the strategy's own, beyond its scope any strategy's."""
        if not is_working(group) or group.strategy == MANUAL:
            return False
        return group.strategy == strategy or not self.scope.startswith("strategy:")

    def _is_due(self, name: str, now_ns: int) -> bool:
        if now_ns - self._asked_ns.get(name, -AGAIN_NS) < AGAIN_NS:
            return False
        self._asked_ns[name] = now_ns
        return True

    def _worst_price(self, contract: ContractExposure, side: Side, percent: Decimal) -> Decimal | None:
        """Return the limit: the first price seen, less (for a buy: plus) the slippage, within it on the tick."""
        mark, info = contract.quote.mark, contract.info
        if mark is not None:
            mark = self._marks.setdefault(contract.con_id, mark)
        if mark is None or info is None:
            return None
        is_sell = side is Side.SELL
        bound = mark * (100 - percent if is_sell else 100 + percent) / 100
        tick = info.tick_at(bound)
        if tick <= ZERO:
            return bound.quantize(Decimal("0.01"), ROUND_DOWN)
        return (bound / tick).to_integral_value(ROUND_CEILING if is_sell else ROUND_FLOOR) * tick


def owned(contract: ContractExposure, scope: str) -> Iterator[tuple[str, Decimal]]:
    """Yield who of a scope owns how much of a contract, beyond what nobody owns or people traded."""
    kind, _, name = scope.partition(":")
    if kind == "contract" and name != str(contract.con_id):
        return
    for strategy, quantity in contract.owned():
        if kind != "strategy" or name == strategy:
            yield strategy, quantity


def is_working(group: OrderGroup) -> bool:
    """Return whether an order of ours has legs that may still fill."""
    return not group.is_external and (group.open_buys > 0 or group.open_sells > 0)


def entries_of(book: Book, scope: str) -> list[CancelOrder]:
    """Return the working orders of a scope that add exposure; a bracket whose parent still works is one of them.

    Stops and other orders that only reduce stay, as do children of a parent that has ended, and orders by hand.
    """
    kind, _, name = scope.partition(":")
    found = []
    for group in book.groups.values():
        if group.is_external or group.strategy == MANUAL or (kind == "strategy" and group.strategy != name):
            continue
        if (kind != "contract" or name == str(group.con_id)) and any(_adds(leg) for leg in group.legs.values()):
            found.append(CancelOrder(group.key, group.strategy))
    return found


def _adds(leg: Leg) -> bool:
    return leg.is_open and leg.is_shown and leg.parent is None and not leg.is_reducing
