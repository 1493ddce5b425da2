"""Count what happened in a trading day, per strategy and for the account: orders, executions, turnover, rejections.

Invariants:
1. Counts begin anew with the trading day that a message's time lies in, so a book that is rebuilt counts the same.
2. A correction of an execution changes profits, not counts.
3. Contents are remembered for the duplicates' window only, and at most `CONTENTS_MAX` of them.

Known limit: an execution whose contract or exchange rate is not known yet adds nothing to the turnover.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from services.risk.core.days import TradingDay
from shared.messages.orders import Intent, Side
from shared.money import ZERO

CONTENTS_MAX = 1000
Repeat = tuple[str, int, bool]
_BUY = Side.BUY


class Activity:
    """The counts. `started_ns` is when the trading day that is counted began."""

    __slots__ = (
        "_contents", "_day", "filled", "last_ns", "orders", "rejects", "repeats", "repeats_most",
        "started_ns", "trades", "turnover", "until_ns",
    )  # fmt: skip

    def __init__(self, day: TradingDay) -> None:
        self._day = day
        self._contents: dict[int, int] = {}
        self.started_ns = 0
        self.until_ns = 0
        self.turnover = ZERO
        """Base currency bought and sold in the day."""
        self.trades = 0
        self.orders: dict[str, int] = {}
        """Strategy → orders placed, changed and cancelled in the day, each leg one: what IB counts as submissions."""
        self.filled: dict[str, int] = {}
        """Strategy → orders of the day that executed, in part or whole."""
        self.repeats: dict[Repeat, int] = {}
        """Strategy, conId, is it a buy → orders approved in the day, until a person resumes the strategy."""
        self.repeats_most = 0
        """No count of `repeats` is above it: what nearly every decision asks instead of looking one up."""
        self.last_ns: dict[tuple[str, int], list[int]] = {}
        """Strategy, conId → when an order or modify was approved last: the one item of a list that stays the same."""
        self.rejects: dict[str, int] = {}
        """Strategy → orders that the broker rejected in a row."""

    def advance(self, now_ns: int) -> None:
        """Begin to count anew where a trading day has begun."""
        if now_ns < self.until_ns:
            return
        start_ns = self._day.start_ns(now_ns)
        self.until_ns = self._day.end_ns
        if start_ns > self.started_ns:
            self.started_ns = start_ns
            self.turnover, self.trades = ZERO, 0
            self.orders, self.filled, self.repeats, self.repeats_most = {}, {}, {}, 0

    def approved(self, intent: Intent, now_ns: int) -> None:
        """Count an approved intent."""
        if now_ns >= self.until_ns:
            self.advance(now_ns)
        asked = intent.__dict__  # a message answers for an attribute three times slower than its dict does
        strategy, con_id, legs = asked["strategy"], asked["con_id"], asked["legs"]
        self.orders[strategy] = self.orders.get(strategy, 0) + len(legs)
        self.last_of(strategy, con_id)[0] = now_ns
        key = repeat_key(intent)
        count = self.repeats[key] = self.repeats.get(key, 0) + 1
        if count > self.repeats_most:
            self.repeats_most = count
        contents = self._contents
        if len(contents) >= CONTENTS_MAX:
            del contents[next(iter(contents))]
        content = content_of(intent)
        if content in contents:
            del contents[content]  # the newest stands last
        contents[content] = now_ns

    def cancelled(self, strategy: str, now_ns: int) -> None:
        """Count an order that ended cancelled."""
        self.advance(now_ns)
        self.orders[strategy] = self.orders.get(strategy, 0) + 1

    def executed(self, strategy: str, value: Decimal | None, now_ns: int, *, is_first: bool) -> None:
        """Count an execution worth `value` in base currency; `is_first` of its order."""
        self.advance(now_ns)
        self.trades += 1
        if is_first:
            self.filled[strategy] = self.filled.get(strategy, 0) + 1
        if value is not None:
            self.turnover += abs(value)

    def rejected(self, strategy: str) -> None:
        """Count an order that the broker rejected."""
        self.rejects[strategy] = self.rejects.get(strategy, 0) + 1

    def accepted(self, strategy: str) -> None:
        """Take an order that works or filled: the row of rejections is over."""
        if strategy in self.rejects:
            del self.rejects[strategy]

    def resume(self, strategy: str) -> None:
        """Let a person's word end what counts against a strategy ("" for all)."""
        if not strategy:
            self.rejects, self.repeats, self.repeats_most = {}, {}, 0
            return
        self.rejects.pop(strategy, None)
        for key in [key for key in self.repeats if key[0] == strategy]:
            del self.repeats[key]
        self.repeats_most = max(self.repeats.values(), default=0)

    def last_of(self, strategy: str, con_id: int) -> list[int]:
        """Return when an order or modify of a strategy in a contract was approved last, as in `last_ns`."""
        last = self.last_ns.get((strategy, con_id))
        if last is None:
            last = self.last_ns[strategy, con_id] = [0]
        return last

    def seen_ns(self, intent: Intent, since_ns: int) -> int:
        """Return when an intent of the same content was approved last, 0 if not since `since_ns`."""
        if self.last_of(intent.strategy, intent.con_id)[0] < since_ns:
            return 0  # the usual case: nothing at all was asked for in this contract
        seen_ns = self._contents.get(content_of(intent), 0)
        return seen_ns if seen_ns >= since_ns else 0

    def stored(self) -> dict[str, object]:
        """Return the counts, for a snapshot."""
        return {
            "started_ns": self.started_ns,
            "turnover": str(self.turnover),
            "trades": self.trades,
            "orders": self.orders,
            "filled": self.filled,
            "repeats": [[*key, count] for key, count in self.repeats.items()],
            "rejects": self.rejects,
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take `stored` of a snapshot."""
        self.started_ns, self.trades = stored["started_ns"], stored["trades"]
        self.turnover = Decimal(stored["turnover"])
        self.orders, self.filled = dict(stored["orders"]), dict(stored.get("filled", {}))
        self.rejects = dict(stored["rejects"])
        self.repeats = {(strategy, con_id, is_buy): count for strategy, con_id, is_buy, count in stored["repeats"]}
        self.repeats_most = max(self.repeats.values(), default=0)


def content_of(intent: Intent) -> int:
    """Return a number for what makes two intents the same wish: the hash of it, since a Decimal's is slow to make."""
    asked = intent.__dict__
    terms = []
    for leg in asked["legs"]:
        one = leg.__dict__
        terms.append((one["side"] is _BUY, one["quantity"], one["limit_price"], one["stop_price"]))
    return hash((asked["strategy"], asked["con_id"], asked["modifies"], *terms))


def repeat_key(intent: Intent) -> Repeat:
    """Return what a strategy does again and again: one side of one contract."""
    return intent.strategy, intent.con_id, intent.legs[0].side is _BUY
