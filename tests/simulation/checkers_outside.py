"""Judge what comes from outside: another account's login or data (P8), and entries nobody can read (P10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.bus.ports import Entry
from shared.errors import BadInput
from shared.ids import deployment_tag, parse_order_ref
from shared.messages.account import AccountSnapshot, BookMove, PositionReport, Unexplained
from shared.messages.base import Message
from shared.messages.control import Control, ControlAction, Reconciled
from shared.messages.orders import Command, Fill, OrderEvent
from tests.simulation.broker_records import Sent
from tests.simulation.checkers import Checker
from tests.simulation.kernel import NS

NOTICED_NS = 2 * NS
"""How long after an unreadable entry the last approval may be written that was decided before it."""
_OF_AN_ACCOUNT = (OrderEvent, Fill, PositionReport, AccountSnapshot, Unexplained, BookMove)


@dataclass
class OneDeployment(Checker):
    """P8: nothing of another account, mode or deployment is ordered, published or led."""

    promise = "P8"
    account: str = ""
    deployment_id: str = ""
    login: Any = None
    """Returns the accounts that TWS shows at this moment."""
    given_back: int = 0
    """How often Redis was made to say again that the deployment is ours."""
    _barred: dict[int, int] = field(default_factory=dict)
    """Epochs whose lease was won while Redis said that the deployment is another's → `given_back` then."""

    def sent(self, order: Sent) -> None:
        """Judge an order that reached the broker."""
        parsed = parse_order_ref(order.ref)
        if parsed is None or parsed[0] != deployment_tag(self.deployment_id):
            self.fail(f"an order with the reference {order.ref!r} is not of this deployment")
        if order.account != self.account:
            self.fail(f"{order.ref} reached the broker for account {order.account!r}")
        if self.account not in self.login():
            self.fail(f"{order.ref} reached a TWS that is logged in for {', '.join(self.login())}")

    def message(self, message: Message) -> None:
        """Judge what a service wrote."""
        account = account_of(message)
        if account is not None and account != self.account:
            self.fail(f"a {message.TYPE} of account {account!r} was written")

    def acquired(self, epoch: int, *, is_foreign: bool) -> None:
        """Note a gateway that won the lease."""
        if is_foreign:
            self._barred[epoch] = self.given_back

    def fenced(self, epoch: int, *, is_foreign: bool) -> None:
        """Judge a gateway that raises its fence: it must have seen whose deployment this is."""
        if is_foreign and self._barred.get(epoch) == self.given_back:
            self.fail(f"epoch {epoch} began to lead a deployment that is another account's")


@dataclass
class BadInputIsHarmless(Checker):
    """P10: what nobody can read is kept for a person, stops nothing else, and makes its readers careful."""

    promise = "P10"
    vital: tuple[str, ...] = ()
    """Streams whose entries could have meant an order, a fill or a halt."""
    _planted: dict[tuple[int, str, str], int] = field(default_factory=dict)
    _kept: set[tuple[int, str, str]] = field(default_factory=set)
    halting: str = ""
    """The one of them whose entries could have been a halt: a resume ends what they began, and nothing else does."""
    _careful: dict[tuple[int, bool], tuple[int, str]] = field(default_factory=dict)
    """Server, and whether it could be a halt → since when, and for which entry, nothing that adds exposure may pass."""

    def planted(self, life: int, stream: str, entry_id: str) -> None:
        """Note an entry that nobody can read."""
        self._planted[life, stream, entry_id] = self.now()
        if stream in self.vital:
            self._careful[life, stream == self.halting] = (self.now(), f"{stream} {entry_id}")

    def added(self, life: int, entry: Entry) -> None:
        """Note a dead letter."""
        fields = entry.fields
        if fields.get(b"type") == b"dead_letter":
            self._kept.add((life, fields[b"key"].decode(), fields[b"id"].decode()))

    def message(self, life: int, message: Message) -> None:
        """Judge an approval; a reconciliation ends what an unreadable entry began, or the resume of a halt does."""
        if isinstance(message, Reconciled):
            self._careful.pop((life, False), None)
        elif isinstance(message, Control) and message.action is ControlAction.RESUME and message.scope == "account":
            self._careful.pop((life, True), None)
        elif isinstance(message, Command) and not message.is_reducing:
            for is_halt, ends in ((False, "reconciling"), (True, "a resume")):
                since_ns, what = self._careful.get((life, is_halt), (self.now(), ""))
                if self.now() - since_ns > NOTICED_NS:
                    self.fail(f"{message.intent.intent_id} was approved though {what} was unreadable, before {ends}")

    def ended(self, name: str, error: BaseException) -> None:
        """Judge a service that ended by an error."""
        if isinstance(error, BadInput):
            self.fail(f"{name} ended by what it read: {type(error).__name__}: {error}")

    def settled(self, life: int, streams: tuple[str, ...]) -> None:
        """Judge the end: each unreadable entry that has one reader is among the dead letters."""
        for of_life, stream, entry_id in self._planted:
            if of_life == life and stream in streams and (life, stream, entry_id) not in self._kept:
                self.fail(f"{stream} {entry_id} could not be read, and is not among the dead letters")


def account_of(message: Message) -> str | None:
    """Return the account a message is about, None for one that is about none."""
    if isinstance(message, Command):
        return message.intent.account
    return message.account if isinstance(message, _OF_AN_ACCOUNT) else None
