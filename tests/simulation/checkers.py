"""Judge a run: P1 to P11 after every step, and what must have settled once the faults are over.

A checker sees what the system cannot: the broker's own books, every entry any server ever took, the true time. It never
asks the services what they think. Each has a test in which it fails (`test_checkers.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.bus.keys import Keys
from shared.bus.ports import Entry, LeaseToken
from shared.ids import deployment_tag, exec_stem, order_ref, parse_order_ref
from shared.messages.orders import (
    Command,
    Decision,
    Fill,
    Intent,
    IntentAction,
    OrderEvent,
    OrderState,
)
from tests.simulation.broker_records import Sent, SimExecution, SimOrder
from tests.simulation.kernel import NS

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that did not hold."""

    promise: str
    text: str
    at_ns: int = 0

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.promise} at {self.at_ns / NS - 1000:.4f}: {self.text}"


@dataclass
class Checker:
    """What every checker has."""

    violations: list[Violation]
    now: Any
    promise = ""

    def fail(self, text: str) -> None:
        """Note that the promise does not hold."""
        self.violations.append(Violation(self.promise, text, self.now()))


@dataclass
class Approval(Checker):
    """P1: nothing reaches the broker that risk did not approve, in just these terms."""

    promise = "P1"
    deployment_id: str = ""
    _commands: dict[str, Command] = field(default_factory=dict)
    _rejected: dict[str, str] = field(default_factory=dict)

    def command(self, command: Command) -> None:
        """Note what risk approved."""
        self._commands.setdefault(command.intent.intent_id, command)

    def _modifies(self, intent_id: str) -> Iterator[Command]:
        for command in self._commands.values():
            if command.intent.action is IntentAction.MODIFY and command.intent.modifies == intent_id:
                yield command

    def sent(self, order: Sent) -> None:
        """Judge an order or change that reached the broker."""
        parsed = parse_order_ref(order.ref)
        if parsed is None or parsed[0] != deployment_tag(self.deployment_id):
            return  # P8 judges it
        _, intent_id, leg = parsed
        candidates = [self._commands[intent_id]] if intent_id in self._commands else []
        if order.kind == "modify":
            candidates += self._modifies(intent_id)
        for command in candidates:
            for approved in command.intent.legs:
                same = approved.leg == leg and (approved.side, approved.quantity) == (order.side, order.quantity)
                if same and approved.limit_price == order.limit and command.intent.con_id == order.con_id:
                    return
        self.fail(f"{order.kind} {order.ref} {order.side} {order.quantity} at {order.limit} was never approved")


@dataclass
class OneOrder(Checker):
    """P2: at most one new order per intent and leg."""

    promise = "P2"
    _seen: dict[str, Sent] = field(default_factory=dict)

    def sent(self, order: Sent) -> None:
        """Judge an order that reached the broker."""
        if order.kind == "modify":
            return
        before = self._seen.get(order.ref)
        if before is not None:
            self.fail(f"{order.ref} reached the broker as order {before.order_id} and again as {order.order_id}")
        self._seen[order.ref] = order

    def settled(self, orders: list[SimOrder]) -> None:
        """Judge the end: a second order that IB itself made has been found and cancelled."""
        for order in orders:
            if order.is_double and order.is_active and not order.is_held:
                self.fail(f"{order.ref} works twice at the broker, and the second was not cancelled")


@dataclass
class FillsOnce(Checker):
    """P3: every execution the broker shows is in `fills`, once."""

    promise = "P3"
    _seen: dict[tuple[int, str], int] = field(default_factory=dict)

    def published(self, life: int, fill: Fill) -> None:
        """Judge an entry of `fills` on one server."""
        key = (life, fill.exec_stem)
        if self._seen.get(key, 0) >= fill.revision:
            self.fail(f"execution {fill.exec_id} is in fills twice")
        self._seen[key] = fill.revision

    def settled(self, life: int, executions: list[SimExecution], day: int, client_ids: tuple[int, ...]) -> None:
        """Judge the end: what the broker still shows must be there."""
        for text in self.missing(life, executions, day, client_ids):
            self.fail(text)

    def missing(
        self, life: int, executions: list[SimExecution], day: int, client_ids: tuple[int, ...]
    ) -> Iterator[str]:  # fmt: skip
        """Yield what the broker still shows and is not there."""
        for row in (each.row for each in executions if each.day == day and each.row.client_id in client_ids):
            if (life, exec_stem(row.exec_id)[0]) not in self._seen:
                yield f"execution {row.exec_id} of {row.order_ref} is not in fills"


def _is_had(order: SimOrder) -> bool:
    """Return whether the broker has, or had, an order.

    What TWS kept during an outage and dropped before IB ever saw it was not sent; nor was a leg that waits in TWS for
    the last one of its group, which a cut has swallowed: nothing transmits it.
    """
    return bool(order.perm_id) or (order.is_active and order.is_transmitted)


@dataclass
class Outcomes(Checker):
    """P4: every intent ends once, and as the broker says."""

    promise = "P4"
    is_lossy: Any = None
    """Whether Redis has lost data by now: then an outcome may be said again."""
    last: dict[tuple[int, str], OrderEvent] = field(default_factory=dict)
    decided: dict[str, Decision] = field(default_factory=dict)
    _final: dict[tuple[int, str], OrderState] = field(default_factory=dict)
    _closed: set[str] = field(default_factory=set)

    def cancelled_first(self, ref: str) -> None:
        """Note that a cancel came before anything was sent: nothing may be sent any more."""
        self._closed.add(ref)

    def sent(self, order: Sent) -> None:
        """Judge an order that reached the broker."""
        if order.kind == "new" and order.ref in self._closed and not self.is_lossy():
            self.fail(f"{order.ref} reached the broker after its cancel had been accepted")

    def event(self, life: int, event: OrderEvent) -> None:
        """Judge an entry of `orders` on one server."""
        if not event.order_ref:
            return
        key = (life, event.order_ref)
        before = self._final.get(key)
        if (
            before is not None
            and event.state.is_final
            and event.state is not before
            and not self._amends(before, event)
        ):
            self.fail(f"{event.order_ref} ended {before} and then {event.state}")
        if event.state.is_final:
            self._final[key] = event.state
        self.last[key] = event

    def _amends(self, before: OrderState, event: OrderEvent) -> bool:
        # A late execution amends; what was declared never there may appear (counted, cancelled, alarmed), and so may
        # what one half of a split server refused and the other let through.
        is_of_both = before is OrderState.REFUSED and self.is_lossy()
        return event.state is OrderState.FILLED or event.filled > ZERO or before is OrderState.NOT_SENT or is_of_both

    def never_sent(self, event: OrderEvent, orders: list[SimOrder]) -> None:
        """Judge a `not_sent`: it may be said of nothing that the broker has."""
        if any(order.ref[:32] == event.order_ref and _is_had(order) for order in orders):
            self.fail(f"{event.order_ref} is declared not sent, and the broker has it")

    def settled(
        self, life: int, orders: list[SimOrder], commands: dict[str, Command], asked: dict[str, Intent],
        rejected: set[str], deployment_id: str, day: int,
    ) -> None:  # fmt: skip
        """Judge the end."""
        truth: dict[str, SimOrder] = {}
        for order in orders:
            if not order.is_double and _is_had(order):
                truth[order.ref[:32]] = order
        for intent_id in asked:
            if intent_id not in rejected and intent_id not in commands:
                self.fail(f"intent {intent_id} was never answered")
        for intent_id, command in commands.items():
            for leg in command.intent.legs:
                ref = order_ref(deployment_id, intent_id, leg.leg)  # type: ignore[arg-type]
                self._judge(life, ref, truth.get(ref), command, day)

    def _judge(self, life: int, ref: str, order: SimOrder | None, command: Command, day: int) -> None:
        event = self.last.get((life, ref))
        is_modify = command.intent.action is IntentAction.MODIFY
        if event is None:
            if not self.is_lossy():
                self.fail(f"{ref} was approved and nothing is said of it")
            return
        if is_modify:
            if not event.state.is_final:
                self.fail(f"the change {ref} is {event.state} for ever")
            return
        if order is None:
            if not event.state.is_final and not self.is_lossy():
                self.fail(f"{ref} is {event.state} for ever, and the broker does not know it")
            return
        self._compare(ref, order, event, day)

    def _compare(self, ref: str, order: SimOrder, event: OrderEvent, day: int) -> None:
        """Compare the last word on an order with the broker's own books."""
        if order.is_active:
            if event.state.is_final or event.state is OrderState.UNKNOWN:
                self.fail(f"{ref} works at the broker ({order.status}) and is {event.state} for us")
            return
        if order.ended_day != day:
            return  # the broker does not show it any more
        if not event.state.is_final and event.state is not OrderState.INACTIVE:
            self.fail(f"{ref} ended {order.status} at the broker and is {event.state} for us")
        elif (order.status == "Filled") != (event.state is OrderState.FILLED):
            self.fail(f"{ref} ended {order.status} at the broker and {event.state} for us")
        elif event.filled != order.filled:
            self.fail(f"{ref} has {order.filled} filled at the broker and {event.filled} for us")


_ROLE_STREAMS = {
    "gateway": ("orders", "fills", "account", "broker_status"),
    "risk": ("decisions", "commands", "cancel_commands"),
}


@dataclass
class OneVoice(Checker):
    """P5: after the first entry of a role's epoch on a stream no entry of an older one appears there."""

    promise = "P5"
    keys: Keys | None = None
    _role_of: dict[str, str] = field(default_factory=dict)
    _highest: dict[tuple[int, str], int] = field(default_factory=dict)

    def added(self, life: int, entry: Entry) -> None:
        """Judge an entry."""
        if not self._role_of and self.keys is not None:
            self._role_of = {getattr(self.keys, name): role for role, names in _ROLE_STREAMS.items() for name in names}
            self._role_of |= {self.keys.ticks(number): "gateway" for number in range(self.keys.tick_partitions)}
        role = self._role_of.get(entry.stream)
        text = entry.fields.get(b"epoch", b"0")
        epoch = int(text) if text.isdigit() else 0
        if role is None or not epoch:
            return
        key = (life, entry.stream)
        if epoch < self._highest.get(key, 0):
            self.fail(f"{entry.stream} {entry.entry_id}: epoch {epoch} after {self._highest[key]}")
        self._highest[key] = max(epoch, self._highest.get(key, 0))

    def acquired(self, token: LeaseToken, believers: list[str]) -> None:
        """Judge a lease that was acquired: who held it before must not believe in it any more."""
        if believers:
            self.fail(f"{token.owner} acquired the lease of {token.role} while {', '.join(believers)} still held it")

    def forwarded(self, epoch: int) -> None:
        """Judge a frame of a trading session that passed the guard: no byte of a lower epoch after a higher one."""
        key = (0, "guard")
        if epoch < self._highest.get(key, 0):
            self.fail(f"the guard let epoch {epoch} through after {self._highest[key]}")
        self._highest[key] = max(epoch, self._highest.get(key, 0))


@dataclass
class LimitHolds(Checker):
    """P7: the worst case of what we sent stays within the position limit."""

    promise = "P7"
    limit: Decimal = ZERO
    _is_off: bool = False

    def by_others(self) -> None:
        """Note that positions moved by what was not ours: the limit is then risk's to report, not to keep."""
        self._is_off = True

    def judge(self, positions: dict[int, Decimal], orders: list[SimOrder]) -> None:
        """Judge the broker's books."""
        if self._is_off:
            return
        working: dict[int, list[Decimal]] = {}
        for order in orders:
            if order.is_double:
                return
            both = working.setdefault(order.con_id, [ZERO, ZERO])
            if order.is_active and order.is_transmitted and not order.terms.parent_id:
                both[order.side.sign < 0] += order.remaining
        for con_id, (buys, sells) in working.items():
            held = positions.get(con_id, ZERO)
            if held + buys > self.limit or held - sells < -self.limit:
                self.fail(f"contract {con_id}: position {held}, +{buys}, -{sells} is over {self.limit}")


@dataclass
class OneOwner(Checker):
    """P9: a unit's commits follow one another, and nothing of it is done twice."""

    promise = "P9"
    _commits: dict[tuple[int, str], int] = field(default_factory=dict)
    _intents: dict[tuple[int, str], str] = field(default_factory=dict)
    _names: dict[tuple[int, str], str] = field(default_factory=dict)

    def committed(self, life: int, unit: str, number: int) -> None:
        """Judge a commit that a server took."""
        key = (life, unit)
        before = self._commits.get(key)
        if before is not None and number != before + 1:
            self.fail(f"unit {unit}: commit {number} after {before}")
        self._commits[key] = number

    def effect(self, life: int, unit: str, name: str, intent_id: str) -> None:
        """Judge an intent of a unit: what one quote brings about has one intent."""
        other = self._names.setdefault((life, intent_id), name)
        if other != name:
            self.fail(f"unit {unit}: intent {intent_id} answers quote {other} and quote {name}")
        before = self._intents.setdefault((life, f"{unit}/{name}"), intent_id)
        if before != intent_id:
            self.fail(f"unit {unit}: quote {name} was answered by {before} and again by {intent_id}")

    def settled(self, life: int, contracts: list[str]) -> None:
        """Judge the end: between the first quote that a unit answered and the last none was skipped."""
        for contract in contracts:
            start = f"counter/{contract}/"
            keys = [key for of_life, key in self._intents if of_life == life and key.startswith(start)]
            numbers = sorted(int(key.rpartition("/")[2]) for key in keys)
            missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers)) if numbers else []
            if missing:
                self.fail(f"unit counter/{contract}: quotes {missing[:5]} were skipped")


@dataclass
class BooksAddUp(Checker):
    """P11: what `fills` says sums up to the broker's positions."""

    promise = "P11"
    _totals: dict[tuple[int, int], Decimal] = field(default_factory=dict)

    def published(self, life: int, fill: Fill) -> None:
        """Count a fill."""
        key = (life, fill.con_id)
        self._totals[key] = self._totals.get(key, ZERO) + fill.quantity * fill.side.sign

    def settled(self, life: int, positions: dict[int, Decimal]) -> None:
        """Judge the end."""
        for con_id, position in positions.items():
            ours = self._totals.get((life, con_id), ZERO)
            if ours != position:
                self.fail(f"contract {con_id}: the broker holds {position}, fills sum up to {ours}")
