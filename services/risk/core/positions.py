"""Know one contract's exposure: positions per strategy, what works, what it is worth, and whether the books add up.

Invariants:
1. `total` is the sum of `by_strategy`, `unassigned` included; it moves only by fills and the baseline.
2. The broker's own figure never changes `total`: a difference that lasts makes the contract reduce-only (P11).
3. Before that the worse of both counts where the broker may know more than we do: it shows a position we never had, or
   this book may have lost fills (`doubt`). Only where it is merely behind our last fills does ours count alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from services.risk.core.legs import OrderGroup
from services.risk.core.quotes import Quote
from shared.ids import MANUAL, UNASSIGNED
from shared.messages.market import ContractInfo
from shared.money import ZERO

SETTLE_NS = 10_000_000_000
"""How long the broker's position and ours may differ before the contract becomes reduce-only: IB reports both apart."""


Best = tuple[Decimal | None, Decimal | None]
"""The highest buy limit and the lowest sell limit."""
_NO_LIMITS: Best = (None, None)


class ContractExposure:
    """Everything risk knows of one contract; quantities are signed shares or contracts, `buys` and `sells` positive.

    `point` is base currency per point of price and share, `value` base currency per share: None while a factor is
    unknown. `top` and `bottom` are the signed positions if all buys (all sells) fill, `worst_quantity` the larger of
    both in size, `held_quantity` the size without what works; `share` is what `Sums` has counted of this contract.
    """

    __slots__ = (
        "average_cost", "best_own", "bottom", "broker", "buys", "by_strategy", "con_id", "currency", "differs_since_ns",
        "groups", "held_quantity", "info", "is_ahead", "is_contested", "is_doubted", "is_mismatched", "is_price_old",
        "is_used",
        "lendable", "market_price", "open_buys", "open_sells", "point", "quote", "resting", "sells", "share", "steps",
        "strategy_ends", "strategy_work", "terms", "top", "total", "totals",
        "unexplained", "value", "worst_quantity", "worst_value",
    )  # fmt: skip

    def __init__(self, con_id: int) -> None:
        self.con_id = con_id
        self.info: ContractInfo | None = None
        self.currency = ""
        self.by_strategy: dict[str, Decimal] = {}
        self.total = ZERO
        self.totals: deque[Decimal] = deque([ZERO], maxlen=16)
        self.broker: Decimal | None = None
        self.differs_since_ns = 0
        self.is_mismatched = False
        self.is_doubted = False
        """Fills may have been lost: the broker's position counts too, until both agree."""
        self.is_ahead = False
        """The broker shows a position that may be newer than ours."""
        self.unexplained = ""
        self.is_contested = False
        """What nobody owns stands against what a strategy holds: one of the two was closed by somebody else."""
        self.average_cost = ZERO
        self.market_price: Decimal | None = None
        self.lendable: Decimal | None = None
        """Shares that the broker shows to borrow for a short sale, None where it shows nothing."""
        self.groups: dict[str, OrderGroup] = {}
        self.strategy_work: dict[str, list[Decimal]] = {}
        self.strategy_ends: dict[str, list[Decimal]] = {}
        """Strategy → how long and how short (as a positive number) it is itself if all its orders of that side fill."""
        self.buys = ZERO
        self.sells = ZERO
        self.open_buys = 0
        self.open_sells = 0
        self.quote = Quote()
        self.is_price_old = False
        self.best_own: Best | None = None
        """Highest working buy limit and lowest working sell limit of ours, None when it must be looked up again."""
        self.resting: dict[str, Best] = {}
        """Orders of which a limit works, ours and others', with their best."""
        self.terms: dict[str, Any] = {}
        """Strategy → the limits that hold here, resolved; kept by `decide.RuleBook`."""
        self.steps: tuple[Decimal, Decimal, Decimal] | None = None
        """Tick, size increment and smallest size where one of each holds at every price above zero."""
        self.point: Decimal | None = None
        self.value: Decimal | None = None
        self.worst_value: Decimal | None = ZERO
        self.top = ZERO
        self.bottom = ZERO
        self.worst_quantity = ZERO
        self.held_quantity = ZERO
        self.is_used = False
        self.share: tuple[Decimal, Decimal, Decimal, Decimal, str] = (ZERO, ZERO, ZERO, ZERO, "")

    # -- position

    def move(self, strategy: str, change: Decimal, now_ns: int) -> None:
        """Change the position of a strategy by signed shares."""
        self.give(strategy, change)
        self.total += change
        self.totals.append(self.total)
        self.compare(now_ns)

    def give(self, strategy: str, change: Decimal) -> None:
        """Change what a strategy holds of the position by signed shares; another's changes by as much the other way."""
        self.by_strategy[strategy] = self.by_strategy.get(strategy, ZERO) + change
        ends = self.ends_of(strategy)
        ends[0] += change
        ends[1] -= change
        unassigned = self.by_strategy.get(UNASSIGNED, ZERO)
        self.is_contested = bool(unassigned) and any(held * unassigned < ZERO for _, held in self.owned())

    def owned(self) -> Iterator[tuple[str, Decimal]]:
        """Yield who holds how much, beyond what nobody owns and what people hold by `cq order`."""
        for strategy, quantity in self.by_strategy.items():
            if quantity and strategy not in (UNASSIGNED, MANUAL):
                yield strategy, quantity

    def take_positions(self, by_strategy: dict[str, Decimal]) -> None:
        """Take what each strategy holds, of a contract of which nothing is known yet."""
        for strategy, quantity in by_strategy.items():
            self.give(strategy, quantity)
        self.total = sum(by_strategy.values(), ZERO)
        self.totals.append(self.total)

    def ends_of(self, strategy: str) -> list[Decimal]:
        """Return a strategy's own worst case both ways; the list is the book's own, and stays the same one."""
        ends = self.strategy_ends.get(strategy)
        if ends is None:
            ends = self.strategy_ends[strategy] = [ZERO, ZERO]
        return ends

    def report(self, broker: Decimal, now_ns: int) -> None:
        """Take the broker's position."""
        is_new = broker != self.broker
        self.broker = broker
        if is_new and broker != self.total and broker in self.totals:
            self.differs_since_ns = max(1, now_ns)  # older than our last fills: the next report gets its time
        if broker == self.total:
            self.is_doubted = False
        self.compare(now_ns)

    def doubt(self) -> None:
        """Count the worse of the broker's position and ours until a report agrees: fills may have been lost."""
        self.is_doubted = True
        self._look()

    def _look(self) -> None:
        """See whether the broker's position may be newer than ours."""
        differs = self.broker is not None and self.broker != self.total
        self.is_ahead = differs and (self.is_doubted or self.broker not in self.totals)

    def compare(self, now_ns: int) -> None:
        """Start or end the time for which the books differ."""
        if self.broker is None or self.broker == self.total:
            self.differs_since_ns = 0
            self.is_mismatched = False
            self.unexplained = ""
            if self.broker is not None:
                self.totals.clear()
                self.totals.append(self.total)
        elif not self.differs_since_ns:
            self.differs_since_ns = max(1, now_ns)
        self._look()

    def settle(self, now_ns: int) -> bool:
        """Say whether the books have differed too long: the worse of both counts, and only reductions pass."""
        if self.differs_since_ns and not self.is_mismatched and now_ns - self.differs_since_ns > SETTLE_NS:
            self.is_mismatched = True
            return True
        return False

    @property
    def position(self) -> Decimal:
        """Return the account's position as orders can reduce it: the broker's own once the books do not add up."""
        return self.broker if self.is_mismatched and self.broker is not None else self.total

    @property
    def bounds(self) -> tuple[Decimal, Decimal]:
        """Return (lowest, highest) position that may be true."""
        if self.broker is not None and (self.is_ahead or self.is_mismatched):
            return min(self.broker, self.total), max(self.broker, self.total)
        return self.total, self.total

    # -- work

    def add_work(self, strategy: str, buys: Decimal, sells: Decimal, open_buys: int, open_sells: int) -> None:
        """Change what may still fill, in total and for a strategy."""
        self.open_buys += open_buys
        self.open_sells += open_sells
        work = self.strategy_work.get(strategy)
        if work is None:
            work = self.strategy_work[strategy] = [ZERO, ZERO]
        ends = self.strategy_ends.get(strategy) or self.ends_of(strategy)
        if buys:
            self.buys += buys
            work[0] += buys
            ends[0] += buys
        if sells:
            self.sells += sells
            work[1] += sells
            ends[1] += sells

    def note_best(self, key: str, buy: Decimal | None, sell: Decimal | None) -> None:
        """Take the best limits of one order; those of all are looked up again only where the best may be gone."""
        before = self.resting.get(key, _NO_LIMITS)
        if before == (buy, sell):
            return
        if buy is None and sell is None:
            del self.resting[key]
        else:
            self.resting[key] = (buy, sell)
        if self.best_own is None:
            return
        best_buy, best_sell = self.best_own
        if (before[0] is not None and before[0] == best_buy) or (before[1] is not None and before[1] == best_sell):
            self.best_own = None
            return
        if buy is not None and (best_buy is None or buy > best_buy):
            best_buy = buy
        if sell is not None and (best_sell is None or sell < best_sell):
            best_sell = sell
        self.best_own = best_buy, best_sell

    def recount(self) -> None:
        """Set the worst case from position and work; every change of either is followed by this."""
        if self.is_ahead or self.is_mismatched:
            low, high = self.bounds
        else:
            low = high = self.total
        top = self.top = high + self.buys
        bottom = self.bottom = low - self.sells
        self.worst_quantity = top if top > -bottom else -bottom  # bottom <= low <= high <= top: one end is largest
        self.held_quantity = high if high > -low else -low
        self.is_used = bool(self.worst_quantity)

    def worst(self, buys: Decimal = ZERO, sells: Decimal = ZERO) -> Decimal:
        """Return the largest absolute position possible, with `buys` and `sells` added to what works."""
        top, bottom = self.top + buys, sells - self.bottom
        return top if top > bottom else bottom

    # -- money

    def price(self) -> Decimal | None:
        """Return the price money is counted with: quote, else the broker's, else the average cost of a holding."""
        mark = self.quote.mark
        if mark is not None:
            return mark
        if self.market_price:
            return self.market_price
        if self.average_cost and self.info is not None and self.info.multiplier:
            return self.average_cost / self.info.multiplier * self.info.price_magnifier
        return None
