"""Hold what one intent (or one order that is not ours) may still do: its legs, and their worst case both ways.

Invariants:
1. A leg's filled quantity is max(what the broker reported, sum of its executions), whichever message came first: it
   leaves "working" in the same step in which it enters "position", and never twice (architecture §4, risk's book).
2. An execution counts once per stem; a higher revision replaces the lower one (ib-facts A.6).
3. While a modify is in doubt the leg counts the larger of the old and every new quantity.
4. UNKNOWN, INACTIVE and reserved legs count as working; only evidence ends that.
"""

from __future__ import annotations

from decimal import Decimal

from shared.messages.orders import Fill, Group, OrderEvent, OrderLeg, OrderState
from shared.money import ZERO

Terms = tuple[Decimal, Decimal | None, Decimal | None]
"""Quantity, limit price and stop price that a leg has or may get."""


LegFacts = tuple[int | None, int, Decimal, Decimal]
"""Parent leg or None, sign, working quantity, filled quantity."""


class Leg:
    """One order. `sign` is +1 for BUY and -1 for SELL; quantities are positive.

    `is_open` is true from the approval until a final state; `is_shown` once an order event was seen.
    """

    __slots__ = (
        "executed", "executions", "is_open", "is_reducing", "is_shown", "limit_price", "number", "parent", "pending",
        "quantity", "reported", "sign", "state", "stop_price", "tif",
    )  # fmt: skip

    def __init__(self, number: int, sign: int, quantity: Decimal) -> None:
        self.number = number
        self.sign = sign
        self.quantity = quantity
        self.limit_price: Decimal | None = None
        self.stop_price: Decimal | None = None
        self.tif = ""
        self.parent: int | None = None
        self.state: OrderState | None = None
        self.is_open = False
        self.is_shown = False
        self.is_reducing = False
        """Risk found that it only reduces; shown by the gateway with each event."""
        self.reported = ZERO
        self.executed = ZERO
        self.executions: dict[str, tuple[int, Decimal]] = {}
        self.pending: dict[str, Terms] = {}

    @property
    def filled(self) -> Decimal:
        """Return the quantity that has left "working" for "position"."""
        return self.reported if self.reported > self.executed else self.executed

    @property
    def working(self) -> Decimal:
        """Return the quantity that may still fill, in the worst case of modifies in doubt."""
        if not self.is_open:
            return ZERO
        most = self.quantity
        if self.pending:
            most = max(most, *[quantity for quantity, _, _ in self.pending.values()])
        left = most - self.filled
        return left if left > 0 else ZERO

    @property
    def facts(self) -> LegFacts:
        """Return what the worst case of a group needs."""
        return self.parent, self.sign, self.working, self.filled

    def reserve(self, terms: OrderLeg) -> None:
        """Count an approved leg from now on; does nothing once the broker or the gateway has spoken of it."""
        if self.is_shown:
            return
        row = terms.__dict__
        self.quantity = row["quantity"]
        self.limit_price = row["limit_price"]
        self.stop_price = row["stop_price"]
        self.tif = row["tif"]
        self.parent = row["parent_leg"]
        self.is_open = True

    def apply_event(self, event: OrderEvent) -> None:
        """Take an order event."""
        self.is_shown = True
        self.state = event.state
        self.quantity = event.quantity
        self.limit_price = event.limit_price
        self.stop_price = event.stop_price
        self.tif = event.tif
        self.parent = event.parent_leg
        self.is_reducing = event.is_reducing
        reported = max(event.filled, event.quantity) if event.state is OrderState.FILLED else event.filled
        self.reported = max(self.reported, reported)
        self.is_open = not event.state.is_final
        if self.is_open:
            self._confirm((event.quantity, event.limit_price, event.stop_price))
        else:
            self.pending.clear()

    def _confirm(self, shown: Terms) -> None:
        """End the doubt about the modify that the broker shows, and about those before it."""
        names = [name for name, terms in self.pending.items() if terms == shown]
        for name in list(self.pending) if names else ():
            del self.pending[name]
            if name == names[-1]:
                break

    def apply_fill(self, fill: Fill) -> bool:
        """Take an execution; return False if it (or a later revision) was counted before."""
        known = self.executions.get(fill.exec_stem)
        if known is not None and known[0] >= fill.revision:
            return False
        before = known[1] if known is not None else ZERO
        self.executions[fill.exec_stem] = (fill.revision, fill.quantity)
        change = fill.quantity - before
        if known is not None and self.reported >= self.executed:
            self.reported = max(ZERO, self.reported + change)  # what was reported included the corrected execution
        self.executed += change
        return True


class OrderGroup:
    """The legs of one intent and their worst case: `buys` and `sells` may still fill, beyond what has filled.

    Bracket: children only reduce what the parent opens, so the parent's side counts the parent's rest, the other side
    the largest child, up to what the parent has opened and no sibling closed. OCA: the largest leg of each side.
    """

    __slots__ = (
        "best_buy", "best_sell", "buys", "con_id", "is_external", "key", "kind", "legs", "open_buys", "open_sells",
        "sells", "since_ns", "strategy",
    )  # fmt: skip

    def __init__(self, key: str, con_id: int, strategy: str, kind: Group, *, is_external: bool = False) -> None:
        self.key = key
        self.con_id = con_id
        self.strategy = strategy
        self.kind = kind
        self.is_external = is_external
        self.legs: dict[int, Leg] = {}
        self.since_ns = 0
        """When it was first heard of."""
        self.buys = ZERO
        self.sells = ZERO
        self.open_buys = 0
        self.open_sells = 0
        self.best_buy: Decimal | None = None
        self.best_sell: Decimal | None = None
        """The highest buy limit and the lowest sell limit that work; stops and children that wait do not."""

    def leg(self, number: int, sign: int) -> Leg:
        """Return a leg, made empty if it is new."""
        found = self.legs.get(number)
        if found is None:
            found = self.legs[number] = Leg(number, sign, ZERO)
        return found

    def recount(self) -> None:
        """Set the worst case, the open counts and the best limits from the legs."""
        if len(self.legs) == 1:  # as nearly every order is
            for leg in self.legs.values():
                self._recount_single(leg)
            return
        self.buys, self.sells = worst_of(self.kind, [leg.facts for leg in self.legs.values()])
        self.open_buys = sum(1 for leg in self.legs.values() if leg.is_open and leg.sign > 0)
        self.open_sells = sum(1 for leg in self.legs.values() if leg.is_open and leg.sign < 0)
        limits: dict[int, list[Decimal]] = {1: [], -1: []}
        for leg in self.legs.values():
            parent = None if leg.parent is None else self.legs.get(leg.parent)
            is_resting = leg.is_open and leg.limit_price is not None and leg.stop_price is None
            if is_resting and leg.limit_price is not None and (parent is None or not parent.is_open):
                limits[leg.sign].append(leg.limit_price)
        self.best_buy, self.best_sell = max(limits[1], default=None), min(limits[-1], default=None)

    def _recount_single(self, leg: Leg) -> None:
        self.buys = self.sells = ZERO
        self.open_buys = self.open_sells = 0
        self.best_buy = self.best_sell = None
        if not leg.is_open:
            return
        limit = leg.limit_price if leg.stop_price is None else None
        if leg.sign > 0:
            self.buys, self.open_buys, self.best_buy = leg.working, 1, limit
        else:
            self.sells, self.open_sells, self.best_sell = leg.working, 1, limit


def worst_of(kind: Group, legs: list[LegFacts]) -> tuple[Decimal, Decimal]:
    """Return (buys, sells) that the legs of one group may still do in the worst case."""
    if len(legs) == 1:
        _, sign, working, _ = legs[0]
        return (working, ZERO) if sign > 0 else (ZERO, working)
    if kind is Group.BRACKET:
        return _worst_of_bracket(legs)
    if kind is Group.OCA:
        return _most(legs, 1), _most(legs, -1)
    return _total(legs, 1), _total(legs, -1)


def _worst_of_bracket(legs: list[LegFacts]) -> tuple[Decimal, Decimal]:
    parents = [leg for leg in legs if leg[0] is None]
    children = [leg for leg in legs if leg[0] is not None]
    buys, sells = _total(parents, 1), _total(parents, -1)
    child_buys, child_sells = _most(children, 1), _most(children, -1)
    if parents:
        # A child only closes what its parent has opened, less what its siblings closed already.
        left = _filled(parents) - _filled(children)
        left = left if left > 0 else ZERO
        child_buys, child_sells = min(child_buys, left), min(child_sells, left)
    return max(buys, child_buys), max(sells, child_sells)


def _filled(legs: list[LegFacts]) -> Decimal:
    return sum((filled for _, _, _, filled in legs), ZERO)


def _most(legs: list[LegFacts], sign: int) -> Decimal:
    return max((working for _, side, working, _ in legs if side == sign), default=ZERO)


def _total(legs: list[LegFacts], sign: int) -> Decimal:
    return sum((working for _, side, working, _ in legs if side == sign), ZERO)
