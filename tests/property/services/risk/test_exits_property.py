"""Whatever fills, ends and answers in whatever order: exits end no larger than what there is to close, and stay calm.

A broker that never reduces exits itself: it does what is asked of it, late or not at all, and shows what it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.risk.core.exits import AGAIN_NS, GRACE_NS, CancelExit, Exits, ResizeExit
from services.risk.core.exposure import Book
from shared.messages.orders import Group, OrderState, Side
from tests.risk_desk import NOW, D, bracket_of, decided, event_of, limits_with, ready_book

WANTED = 100
STEP_NS = GRACE_NS // 2
parts = st.lists(st.integers(1, 60), max_size=4)


@dataclass
class Broker:
    """Three orders; `ignores` answers of it are never carried out."""

    book: Book
    ignores: int
    filled: dict[int, Decimal] = field(default_factory=lambda: dict.fromkeys(range(3), D(0)))
    quantity: dict[int, Decimal] = field(default_factory=lambda: dict.fromkeys(range(3), D(WANTED)))
    state: dict[int, OrderState] = field(default_factory=lambda: dict.fromkeys(range(3), OrderState.WORKING))

    def show(self, leg: int) -> None:
        more: dict[str, Any] = {"stop_price": D("99.00"), "limit_price": None} if leg == 2 else {}
        if leg == 1:
            more = {"limit_price": D("101.00")}
        self.book.apply(
            event_of(
                1, self.state[leg], leg=leg, side=Side.BUY if leg == 0 else Side.SELL, quantity=self.quantity[leg],
                filled=self.filled[leg], group=Group.BRACKET, parent_leg=None if leg == 0 else 0, **more,
            ),
            NOW,
        )  # fmt: skip

    def fill(self, leg: int, amount: int) -> None:
        if self.state[leg].is_final:
            return
        left = self.quantity[leg] - self.filled[leg]
        if leg:
            left = min(left, self.open_position)  # a test of sizes: what would overfill is the sizes' fault, below
        self.filled[leg] += min(D(amount), max(left, D(0)))
        if self.filled[leg] >= self.quantity[leg]:
            self.state[leg] = OrderState.FILLED
        self.show(leg)

    @property
    def open_position(self) -> Decimal:
        return self.filled[0] - self.filled[1] - self.filled[2]

    def take(self, act: ResizeExit | CancelExit) -> None:
        if self.ignores > 0:
            self.ignores -= 1
            return
        if isinstance(act, CancelExit):
            self.state[act.leg] = OrderState.CANCELLED
        else:
            assert act.quantity > self.filled[act.leg], "IB refuses a quantity that is filled already"
            self.quantity[act.leg] = act.quantity
        self.show(act.leg)


@dataclass
class Play:
    """Risk's book, its desk for exits and the broker, stepped through time."""

    broker: Broker
    desk: Exits
    now_ns: int = NOW

    def settle(self, rounds: int) -> int:
        """Let time pass; return how much was asked for."""
        asked = 0
        for _ in range(rounds):
            for act in self.desk.step(self.broker.book.groups.values(), self.now_ns):
                asked += 1
                if isinstance(act, ResizeExit):
                    assert D(0) < act.quantity <= min(self.broker.filled[0], D(WANTED))
                self.broker.take(act)
            self.now_ns += STEP_NS
        return asked

    def end_entry(self, parts_filled: list[int]) -> None:
        """Fill the entry in parts, then cancel what is left."""
        broker = self.broker
        for amount in parts_filled:
            broker.fill(0, amount)
            if not broker.state[0].is_final:
                assert self.settle(8) == 0, "an entry that works may still fill"
        if not broker.state[0].is_final:
            broker.state[0] = OrderState.CANCELLED
            broker.show(0)

    def check(self) -> None:
        """The exits that work close what was filled, and no more."""
        broker = self.broker
        for leg in (1, 2):
            if not broker.state[leg].is_final:
                assert broker.filled[leg] < broker.quantity[leg] <= broker.filled[0], "it would open a position"


@given(
    entry=parts, exits=st.lists(st.tuples(st.integers(1, 2), st.integers(1, 60)), max_size=4),
    ignores=st.integers(0, 3), late=st.integers(0, 40),
)  # fmt: skip
def test_exits_come_to_fit_what_the_entry_filled(
    entry: list[int], exits: list[tuple[int, int]], ignores: int, late: int
) -> None:
    book = ready_book()
    assert decided(bracket_of(1, "BUY", WANTED), book, limits_with()).command
    play = Play(Broker(book, ignores), Exits())
    broker = play.broker
    for leg in range(3):
        broker.show(leg)
    play.end_entry(entry)
    for leg, amount in exits:
        broker.fill(leg, amount)
    long = (ignores + 2) * AGAIN_NS // STEP_NS + 4
    play.settle(long)
    if broker.state[0] is OrderState.CANCELLED and broker.filled[0] + late <= WANTED:
        broker.filled[0] += late  # an execution that was on its way when the entry was cancelled
        broker.show(0)
        play.settle(long)
    play.check()
    assert play.settle(long) == 0, "what fits is left alone"
