"""Keep whose the positions are, and compare their sum with what the broker shows (P3, P11).

Invariants:
1. What a strategy holds moves only by fills that carry its name, and by what a person moves between owners.
   `unassigned` takes fills no strategy owns, what an order by hand is shown to have filled beyond its executions, the
   holdings at the first start, and what a person accepts; nothing else is ever guessed into it.
2. A difference is judged only once it has stood still for `SETTLE_NS`: fills and positions come on two sessions, either
   first. Before it is called unexplained the broker is asked for its executions once more.
3. One that stands after that is `unexplained` until the books agree again or a person accepts it, unless it can be told
   what happened (`core.recognition`): then every owner's share moves with it.
4. The same executions and answers give the same books; what is kept over a restart (`to_json`) names the entries up to
   which it counts, so that no fill counts twice.

Times are nanoseconds: `now_ns` on the monotonic clock, `wall_ns` of the wall.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from services.gateway.core.book_effects import Adopted, AskBroker, BooksEffect, Reassigned, Renamed, Told
from services.gateway.core.recognition import ContractFacts, Line, Recognised, recognise
from shared.errors import DecodeError
from shared.ids import UNASSIGNED
from shared.messages.account import BookMove
from shared.messages.orders import Fill, OrderEvent
from shared.money import ZERO

SETTLE_NS = 4_000_000_000
"""How long a difference must stand unchanged; with a round of questions and `POSITIONS_EVERY_S` well under a minute."""
REMIND_NS = 60_000_000_000
"""A standing difference is told again this often: a reader that has just begun must learn of it too."""
_KEEP_BY_HAND = 5000
_KEEP_MOVES = 1000


@dataclass(slots=True)
class _Difference:
    quantity: Decimal
    since_ns: int
    asked_ns: int = 0
    asked_round: int = -1


@dataclass(slots=True)
class Standing:
    """An unexplained difference as it was told last."""

    expected: Decimal
    reported: Decimal
    raised_wall_ns: int
    told_ns: int = 0


@dataclass(slots=True)
class _ByHand:
    """One order that is not ours: what its executions sum up to, and what it is shown to have filled; both signed."""

    con_id: int
    executed: Decimal = ZERO
    shown: Decimal = ZERO

    @property
    def beyond(self) -> Decimal:
        """Return what it filled beyond the executions we were shown."""
        more = abs(self.shown) - abs(self.executed)
        return more.copy_sign(self.shown) if more > ZERO else ZERO


@dataclass(slots=True)
class Books:
    """Every contract's shares, by who owns them.

    `fills_at` and `orders_at` are the entries of `fills` and `orders` up to which everything is counted in.
    `is_begun` says that the holdings of the first start were noted.
    """

    fills_at: str = "0-0"
    orders_at: str = "0-0"
    is_begun: bool = False
    unexplained: dict[int, Standing] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    """What is kept together with the books, since it counts up to the same entries."""
    _shares: dict[int, dict[str, Decimal]] = field(default_factory=dict)
    _by_hand: dict[int, _ByHand] = field(default_factory=dict)
    _first: dict[int, bool] = field(default_factory=dict)
    """Contracts that differed at the first start and still settle."""
    _moves: dict[str, bool] = field(default_factory=dict)
    """Moves between owners that count already."""
    _differences: dict[int, _Difference] = field(default_factory=dict)
    _costs: dict[int, Decimal] = field(default_factory=dict)
    """Cost per share as it was when the books agreed last."""
    _symbols: dict[int, str] = field(default_factory=dict)

    # -- looking

    def shares(self, con_id: int) -> dict[str, Decimal]:
        """Return who holds how much of a contract, `unassigned` included, zeros left out."""
        return {name: held for name, held in self._shares.get(con_id, {}).items() if held}

    def con_ids(self) -> list[int]:
        """Return every contract that somebody holds or that differs."""
        return list(dict.fromkeys([*self._shares, *self.unexplained]))

    def expected(self, con_id: int) -> Decimal:
        """Return the position that the broker should show."""
        return sum(self._shares.get(con_id, {}).values(), ZERO)

    def gap(self, con_id: int) -> Decimal:
        """Return the unexplained part of the broker's position, zero while there is none."""
        standing = self.unexplained.get(con_id)
        return standing.reported - standing.expected if standing is not None else ZERO

    # -- taking

    def fill(self, fill: Fill, replaces: Decimal = ZERO) -> int:
        """Take an entry of `fills`; `replaces` is the quantity of the revision it corrects. Return the conId."""
        change = (fill.quantity - replaces) * fill.side.sign
        by_hand = self._order_by_hand(fill.perm_id, fill.con_id) if not fill.intent_id and fill.perm_id else None
        beyond = by_hand.beyond if by_hand is not None else ZERO
        self._move(fill.con_id, fill.strategy, change)
        if by_hand is not None:
            by_hand.executed += change
            self._move(fill.con_id, UNASSIGNED, by_hand.beyond - beyond)
        return fill.con_id

    def order(self, event: OrderEvent) -> int:
        """Take an event of an order that is not ours: it may be shown filled without its executions (ib-facts A.3)."""
        if not event.is_external or not event.perm_id or event.filled <= ZERO:
            return 0
        by_hand = self._order_by_hand(event.perm_id, event.con_id)
        before = by_hand.beyond
        shown = event.filled * event.side.sign
        if abs(shown) > abs(by_hand.shown):
            by_hand.shown = shown
        self._move(event.con_id, UNASSIGNED, by_hand.beyond - before)
        return event.con_id

    def _order_by_hand(self, perm_id: int, con_id: int) -> _ByHand:
        known = self._by_hand.get(perm_id)
        if known is None:
            known = self._by_hand[perm_id] = _ByHand(con_id)
            while len(self._by_hand) > _KEEP_BY_HAND:
                del self._by_hand[next(iter(self._by_hand))]
        return known

    def why_not_move(self, con_id: int, taken_from: str, given_to: str, quantity: Decimal) -> str:
        """Return why a quantity cannot go from one owner to another, or nothing: only what is held can be given."""
        held = self._shares.get(con_id, {}).get(taken_from, ZERO)
        if taken_from == given_to:
            return f"{taken_from} is both giver and taker"
        if not quantity:
            return "nothing is to be moved"
        if held * quantity <= ZERO or abs(quantity) > abs(held):
            return f"{taken_from} holds {held} of it, so that {quantity} cannot be taken"
        return ""

    def moved(self, move: BookMove) -> int:
        """Take an entry of `fills` that a person's move made, once; return the conId of what changed."""
        if not move.taken_from or move.move_id in self._moves:
            return 0
        self._moves[move.move_id] = True
        while len(self._moves) > _KEEP_MOVES:
            del self._moves[next(iter(self._moves))]
        self._move(move.con_id, move.taken_from, -move.quantity)
        self._move(move.con_id, move.strategy, move.quantity)
        return move.con_id

    def _move(self, con_id: int, owner: str, change: Decimal) -> None:
        if change:
            shares = self._shares.setdefault(con_id, {})
            shares[owner] = shares.get(owner, ZERO) + change

    # -- judging

    def judge(
        self, reported: Mapping[int, Decimal], *, rounds: int, now_ns: int, wall_ns: int,
        facts: Mapping[int, ContractFacts] | None = None, today: str = "",
    ) -> list[BooksEffect]:  # fmt: skip
        """Compare everything with the broker's positions and return what follows.

        Args:
            reported: every position that is not flat; complete.
            rounds: how many times the broker has answered for its orders and executions.
            now_ns: monotonic time.
            wall_ns: wall time, kept with what is raised.
            facts: what is known of the contracts; nothing is recognised without.
            today: the day at the broker, `yyyymmdd`.
        """
        facts = facts or {}
        contracts = list(dict.fromkeys([*self._shares, *reported, *self.unexplained]))
        if not self.is_begun:
            self.is_begun = True
            differing = [each for each in contracts if reported.get(each, ZERO) != self.expected(each)]
            self._first = dict.fromkeys(differing, True)
        effects: list[BooksEffect] = []
        for con_id in contracts:
            effects += self._judge(con_id, reported.get(con_id, ZERO), rounds, now_ns)
        effects += self._renamed(facts)
        ripe = self._ripe(rounds, now_ns, facts)
        events = recognise([self._line(con_id, reported, facts) for con_id in ripe], today)
        for event in events:
            effects += self._happened(event, reported, today)
        known = [event.con_id for event in events]
        for con_id in ripe:
            if con_id not in known:
                effects += self._tell(con_id, self.expected(con_id), reported.get(con_id, ZERO), now_ns, wall_ns)
        self._costs.update(
            {each: facts[each].average_cost for each in contracts if each in facts and each not in self._differences}
        )
        return effects

    def _judge(self, con_id: int, reported: Decimal, rounds: int, now_ns: int) -> list[BooksEffect]:
        expected = self.expected(con_id)
        quantity = reported - expected
        if not quantity:
            return self._agreed(con_id, expected)
        seen = self._differences.get(con_id)
        if seen is None or seen.quantity != quantity:
            seen = self._differences[con_id] = _Difference(quantity, now_ns)
        if now_ns - seen.since_ns < SETTLE_NS:
            return []
        if self._first.pop(con_id, False):
            return self._adopt(con_id, quantity, "gateway", "held before this deployment first started")
        if seen.asked_round < 0:
            seen.asked_round, seen.asked_ns = rounds, now_ns
            return [AskBroker(con_id)]
        return []

    def _ripe(self, rounds: int, now_ns: int, facts: Mapping[int, ContractFacts]) -> list[int]:
        """Return the differences that the broker's executions do not explain.

        An option and what it is on wait for one another: shares at the strike may come before the option goes.
        """
        ripe = {
            con_id: None
            for con_id, seen in self._differences.items()
            if 0 <= seen.asked_round < rounds and now_ns - seen.asked_ns >= SETTLE_NS
        }
        unripe = [con_id for con_id in self._differences if con_id not in ripe]
        unders = {con_id: facts[con_id].under_con_id for con_id in self._differences if con_id in facts}
        waits = {unders.get(con_id, 0) for con_id in unripe}
        return [con_id for con_id in ripe if con_id not in waits and unders.get(con_id, 0) not in unripe]

    def _line(self, con_id: int, reported: Mapping[int, Decimal], facts: Mapping[int, ContractFacts]) -> Line:
        return Line(
            con_id, self.expected(con_id), reported.get(con_id, ZERO), self._costs.get(con_id, ZERO),
            facts.get(con_id, ContractFacts()), self.shares(con_id),
        )  # fmt: skip

    def _happened(self, event: Recognised, reported: Mapping[int, Decimal], today: str) -> list[BooksEffect]:
        """Let every owner's share follow; a successor that finds the moves on the bus does not make them again."""
        con_id, before = event.con_id, self.shares(event.con_id)
        held = reported.get(con_id, ZERO)
        name = f"{event.kind}:{con_id}:{held - event.change:f}:{held:f}:{today}"
        effects: list[BooksEffect] = [event, *self._adopt(con_id, event.change, "gateway", event.text)]
        for owner in sorted({*before, *event.shares} - {UNASSIGNED}):
            change, move_id = event.shares.get(owner, ZERO) - before.get(owner, ZERO), f"{name}:{owner}"
            if change and not any(known.startswith(name) for known in self._moves):
                effects.append(Reassigned(con_id, owner, change, move_id, event.text))
        if self.unexplained.pop(con_id, None) is not None:
            effects.append(Told(con_id, held, held, event.text))
        return effects

    def _renamed(self, facts: Mapping[int, ContractFacts]) -> list[BooksEffect]:
        effects: list[BooksEffect] = []
        for con_id, each in facts.items():
            before = self._symbols.get(con_id, "")
            if each.symbol and each.symbol != before:
                self._symbols[con_id] = each.symbol
                effects += [Renamed(con_id, before, each.symbol)] if before else []
        return effects

    def _agreed(self, con_id: int, expected: Decimal) -> list[BooksEffect]:
        self._differences.pop(con_id, None)
        self._first.pop(con_id, None)
        if self.unexplained.pop(con_id, None) is None:
            return []
        return [Told(con_id, expected, expected, "the books agree again")]

    def _tell(self, con_id: int, expected: Decimal, reported: Decimal, now_ns: int, wall_ns: int) -> list[BooksEffect]:
        standing = self.unexplained.get(con_id)
        raised_ns = wall_ns
        if standing is not None and standing.reported - standing.expected == reported - expected:
            patience_ns = REMIND_NS if standing.reported == reported else SETTLE_NS  # it may be traded meanwhile
            if standing.told_ns and now_ns - standing.told_ns < patience_ns:
                return []
            raised_ns = standing.raised_wall_ns
        self.unexplained[con_id] = Standing(expected, reported, raised_ns, now_ns)
        text = "no execution that the broker still shows explains it; look for an assignment, a split, a transfer"
        return [Told(con_id, expected, reported, f"{text} or a trade of another client")]

    def accept(self, con_id: int, who: str, reason: str, *, given_wall_ns: int) -> list[BooksEffect]:
        """Give a standing difference to `unassigned` because a person says so.

        Nothing happens for a word older than what stands: it cannot have meant it.
        """
        standing = self.unexplained.get(con_id)
        if standing is None or given_wall_ns < standing.raised_wall_ns:
            return []
        del self.unexplained[con_id]
        self._differences.pop(con_id, None)
        quantity = standing.reported - standing.expected
        told = Told(con_id, standing.reported, standing.reported, f"accepted by {who}: {reason}")
        return [*self._adopt(con_id, quantity, who, reason), told]

    def _adopt(self, con_id: int, quantity: Decimal, who: str, reason: str) -> list[BooksEffect]:
        self._move(con_id, UNASSIGNED, quantity)
        self._differences.pop(con_id, None)
        return [Adopted(con_id, quantity, who, reason)]

    # -- over a restart

    def to_json(self) -> str:
        """Return everything that a successor needs, readable by people too."""
        return json.dumps(
            {
                "fills_at": self.fills_at,
                "orders_at": self.orders_at,
                "is_begun": self.is_begun,
                "beside": self.beside,
                "first": list(self._first),
                "moves": list(self._moves),
                "costs": {str(con_id): str(cost) for con_id, cost in self._costs.items()},
                "symbols": {str(con_id): symbol for con_id, symbol in self._symbols.items()},
                "shares": {
                    str(con_id): {name: str(held) for name, held in self.shares(con_id).items()}
                    for con_id in self._shares
                    if self.shares(con_id)
                },
                "by_hand": {
                    str(perm): [each.con_id, str(each.executed), str(each.shown)]
                    for perm, each in self._by_hand.items()
                },
                "unexplained": {
                    str(con_id): [str(each.expected), str(each.reported), each.raised_wall_ns]
                    for con_id, each in self.unexplained.items()
                },
            }
        )


def books_of(text: str | bytes) -> Books:
    """Return the books as a predecessor left them.

    Raises:
        DecodeError: the text is no `to_json`.
    """
    try:
        stored = json.loads(text)
        return Books(
            fills_at=str(stored["fills_at"]),
            orders_at=str(stored["orders_at"]),
            is_begun=bool(stored["is_begun"]),
            beside=dict(stored.get("beside", {})),
            unexplained={
                int(con_id): Standing(Decimal(expected), Decimal(reported), int(raised))
                for con_id, (expected, reported, raised) in stored["unexplained"].items()
            },
            _shares={
                int(con_id): {str(name): Decimal(held) for name, held in shares.items()}
                for con_id, shares in stored["shares"].items()
            },
            _by_hand={
                int(perm): _ByHand(int(con_id), Decimal(executed), Decimal(shown))
                for perm, (con_id, executed, shown) in stored["by_hand"].items()
            },
            _first={int(con_id): True for con_id in stored["first"]},
            _moves={str(move_id): True for move_id in stored.get("moves", ())},
            _costs={int(con_id): Decimal(cost) for con_id, cost in stored.get("costs", {}).items()},
            _symbols={int(con_id): str(symbol) for con_id, symbol in stored.get("symbols", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as e:
        raise DecodeError(f"the stored books cannot be read: {type(e).__name__}: {e}") from e
