"""Feed every checker from the models: what servers took, what the broker got, what passed the guard."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.bus.keys import Keys
from shared.bus.latches import ACCOUNT, latch_of
from shared.bus.ports import Entry
from shared.errors import BadInput
from shared.ids import order_ref
from shared.messages.base import Message
from shared.messages.codec import decode_fields
from shared.messages.control import Control
from shared.messages.orders import Command, Decision, Fill, Intent, OrderEvent, OrderState
from shared.tws.requests import PlaceOrder
from tests.simulation.broker_records import Sent, SimOrder
from tests.simulation.checkers import (
    Approval,
    BooksAddUp,
    FillsOnce,
    LimitHolds,
    OneOrder,
    OneOwner,
    OneVoice,
    Outcomes,
    Violation,
)
from tests.simulation.checkers_feed import FeedIsTheLeaders
from tests.simulation.checkers_halts import HaltHolds, PartsHold
from tests.simulation.checkers_outside import BadInputIsHarmless, OneDeployment


@dataclass
class Judge:
    """All checkers of a run, fed by the models."""

    keys: Keys
    deployment_id: str
    account: str
    limit: Decimal
    now: Any
    losses: Any
    violations: list[Violation] = field(default_factory=list)
    commands: dict[int, dict[str, Command]] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    intents: dict[str, Intent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the checkers."""
        common = (self.violations, self.now)
        self.approval = Approval(*common, deployment_id=self.deployment_id)
        self.one_order = OneOrder(*common)
        self.fills = FillsOnce(*common)
        self.outcomes = Outcomes(*common, is_lossy=lambda: self.losses() > 0)
        self.voice = OneVoice(*common, keys=self.keys)
        self.halt = HaltHolds(*common)
        self.parts = PartsHold(*common)
        self.limits = LimitHolds(*common, limit=self.limit)
        self.units = OneOwner(*common)
        self.books = BooksAddUp(*common)
        self.feed = FeedIsTheLeaders(*common)
        self.deployment = OneDeployment(
            *common, account=self.account, deployment_id=self.deployment_id, login=lambda: self.login
        )
        self.login: tuple[str, ...] = (self.account,)
        keys = self.keys
        self.bad_input = BadInputIsHarmless(
            *common, vital=(keys.orders, keys.fills, keys.commands, keys.control), halting=keys.control
        )
        self.orders: list[SimOrder] = []
        self._ticks = frozenset(keys.ticks(number) for number in range(keys.tick_partitions))
        self._read = frozenset(
            (keys.orders, keys.fills, keys.commands, keys.decisions, keys.intents, keys.control, keys.account,
             keys.broker_status)
        )  # fmt: skip

    def entry(self, life: int, entry: Entry) -> None:
        """Take an entry of any stream on any server."""
        self.voice.added(life, entry)
        keys = self.keys
        if entry.stream == keys.dead_letter:
            self.bad_input.added(life, entry)
        if entry.stream in self._ticks:
            self.feed.added(life, entry)
        if entry.stream not in self._read:
            return
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
        except BadInput:
            return
        self._message(life, message)

    def _message(self, life: int, message: Message) -> None:
        self.deployment.message(message)
        self.bad_input.message(life, message)
        if isinstance(message, OrderEvent):
            self._order_event(life, message)
        elif isinstance(message, Fill):
            self.fills.published(life, message)
            self.books.published(life, message)
        elif isinstance(message, Command):
            self._command(life, message)
        elif isinstance(message, Decision):
            if not message.approved:
                self.rejected[message.intent_id] = message.code
        elif isinstance(message, Intent):
            self.intents[message.intent_id] = message
            if message.unit:
                self.units.effect(life, message.unit, message.reason, message.intent_id)
        elif isinstance(message, Control):
            self._control(message)

    def _control(self, control: Control) -> None:
        latch, is_set = latch_of(control) or ("", False)
        if latch == ACCOUNT:
            self.halt.asked("halt" if is_set else "resume")
        elif latch:
            self.parts.asked(latch, is_set=is_set)

    def shown(self, fields: dict[str, Any]) -> None:
        """Take what the `halt` hash shows from now on."""
        if "stage" in fields:
            self.halt.acknowledged(str(fields["stage"]))
            self.parts.acknowledged(fields)

    def left(self, order: PlaceOrder) -> None:
        """Take an order that leaves the guard for the broker."""
        terms = order.order
        self.halt.left(terms.order_ref, what_if=terms.what_if)
        self.parts.left(terms.order_ref, order.contract.con_id, what_if=terms.what_if)

    def _order_event(self, life: int, event: OrderEvent) -> None:
        self.outcomes.event(life, event)
        if event.state is OrderState.NOT_SENT and event.code != "GATEWAY_LINK_DOWN":
            self.outcomes.never_sent(event, self.orders)

    def _command(self, life: int, command: Command) -> None:
        self.commands.setdefault(life, {})[command.intent.intent_id] = command
        self.approval.command(command)
        self.parts.command(command)
        if command.is_reducing:
            for leg in command.intent.legs:
                self.halt.reducing.add(order_ref(self.deployment_id, command.intent.intent_id, leg.leg))  # type: ignore[arg-type]

    def sent(self, order: Sent) -> None:
        """Take an order that reached the broker."""
        self.deployment.sent(order)
        if order.kind == "new" or order.kind == "modify":
            self.approval.sent(order)
        self.outcomes.sent(order)
        if order.kind != "refused":
            self.one_order.sent(order)
