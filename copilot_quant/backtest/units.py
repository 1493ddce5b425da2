"""Run a strategy's unit in a backtest: the unit that runs live, less what only a crash needs.

A live unit saves its state with every commit, so that another worker can go on. Here nothing can be lost, so what it
wants to send is taken without being saved: same handlers, same rounding, same refusals, same breaker for errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.strategy.api import Strategy
from services.strategy.core.events import Bar
from services.strategy.core.ordering import Identity, Outbox
from services.strategy.core.saved import Limits
from services.strategy.core.sessions import SessionPlan
from services.strategy.core.unit import Unit
from services.strategy.shell.loader import DeclaredUnit
from services.strategy.shell.making import make_strategy
from shared.clock import NS_PER_S
from shared.messages.market import Bar as BarMessage
from shared.messages.market import ContractInfo
from shared.messages.orders import CancelRequest, Intent

INCARNATION = "backtest"
"""Of the order-flow server, which there is none of here."""
NEVER = 1 << 62
FLAT_AGAIN_NS = NS_PER_S
FLAT_LOOK_NS = 60 * NS_PER_S


class BacktestUnit(Unit):
    """A unit whose effects are taken without a commit."""

    is_armed = False
    """A timer was set since `due_ns` was asked."""

    def set_timer(self, name: str, after_s: float, *, every_s: float = 0.0) -> None:
        """Set or move the timer `name`."""
        super().set_timer(name, after_s, every_s=every_s)
        self.is_armed = True

    def take(self) -> tuple[Sequence[Intent], Sequence[CancelRequest]]:
        """Return what is to leave; the next intents belong to the next commit."""
        box = self.outbox
        if not box.intents and not box.cancels:
            return (), ()
        self._committed += 1
        self.outbox = Outbox(self.identity, self.book, self._committed + 1, box.moment)
        return box.intents, box.cancels

    def due_ns(self, now_ns: int) -> int:
        """Return when `tick` has something to do: a timer, or making flat."""
        self.is_armed = False
        due_ns = min((at for at, _ in self.timers.due.values()), default=NEVER)
        for con_id, plan in self.sessions.items():
            due_ns = min(due_ns, self._flat_due_ns(con_id, plan, now_ns))
        return due_ns

    def _flat_due_ns(self, con_id: int, plan: SessionPlan, now_ns: int) -> int:
        if not plan.is_flattening:
            return NEVER
        window = plan.window(now_ns)
        if window is None or window.flat_ns is None:
            return plan.next_open_ns(now_ns)
        if now_ns < window.flat_ns:
            return window.flat_ns
        is_busy = self.position(con_id) or self.book.open_orders(con_id)
        return min(now_ns + (FLAT_AGAIN_NS if is_busy else FLAT_LOOK_NS), window.close_ns)


@dataclass(slots=True)
class Running:
    """One unit with what the world asks of it at every event."""

    declared: DeclaredUnit
    unit: BacktestUnit
    strategy: Strategy
    wants_quotes: bool
    wants_trades: bool


def make_unit(
    declared: DeclaredUnit, contracts: Mapping[str, ContractInfo], *, deployment_id: str, account: str, limits: Limits
) -> Running:
    """Return a unit that has not started.

    Raises:
        BadInput: it cannot be made, or has a session, and the hours of a contract are not known.
    """
    spec = declared.strategy
    strategy = make_strategy(spec)
    by_id = {contracts[name].con_id: contracts[name] for name in declared.contracts}
    plans = {} if spec.rules is None else {con_id: SessionPlan(spec.rules, info) for con_id, info in by_id.items()}
    unit = BacktestUnit(
        Identity(deployment_id, account, spec.name, declared.unit_id, INCARNATION), strategy, by_id, limits,
        history_needs=dict(spec.history), on_bar_intervals=spec.bars, sessions=plans,
    )  # fmt: skip
    strategy.bind(unit)
    cls = type(strategy)
    wants_quotes, wants_trades = cls.on_quote is not Strategy.on_quote, cls.on_trade is not Strategy.on_trade
    return Running(declared, unit, strategy, wants_quotes, wants_trades)


def bar_event(message: BarMessage, contract: ContractInfo) -> Bar:
    """Return a bar as strategies see it."""
    return Bar(
        contract=contract, interval=message.interval, ts_open_ns=message.ts_open_ns, ts_close_ns=message.ts_close_ns,
        open=float(message.open), high=float(message.high), low=float(message.low), close=float(message.close),
        volume=float(message.volume), vwap=None if message.vwap is None else float(message.vwap),
        is_complete=message.is_complete, is_revised=message.is_revised,
        hours=message.hours,
    )  # fmt: skip
