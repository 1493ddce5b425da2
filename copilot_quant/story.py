"""Tell the story of one order from what it left on the bus: the tick that caused it, risk, claim, broker, fills.

Each step has the wall time of whoever took it (`ts_init_ns`; the tick's and an execution's own time are the gateway's
and the broker's), so that steps of two machines are as far apart as their clocks are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.clock import NS_PER_MS
from shared.messages.base import Message
from shared.messages.codec import Envelope
from shared.messages.orders import (
    CancelCommand,
    CancelRequest,
    Command,
    Commission,
    Decision,
    Fill,
    Intent,
    IntentAction,
    OrderEvent,
    OrderLeg,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `by` is the process that wrote it, `entry_id` where it stands in its stream."""

    at_ns: int
    what: str
    text: str
    by: str = ""
    entry_id: str = ""


@dataclass(frozen=True, slots=True)
class TimedStep:
    """A step with the milliseconds since the one before and since the first."""

    step: Step
    since_previous_ms: float
    since_first_ms: float


def story_of(envelopes: Iterable[Envelope]) -> list[TimedStep]:
    """Return the steps of one order in the order of their times, those of one time as they were written."""
    steps = [step for envelope in envelopes for step in _steps(envelope)]
    steps = [step for at, step in enumerate(steps) if step not in steps[:at]]
    steps.sort(key=lambda step: step.at_ns)
    return [
        TimedStep(step, _ms(step, steps[at - 1] if at else step), _ms(step, steps[0])) for at, step in enumerate(steps)
    ]


def _ms(step: Step, since: Step) -> float:
    return (step.at_ns - since.at_ns) / NS_PER_MS


def _steps(envelope: Envelope) -> Sequence[Step]:
    message = envelope.message
    steps = [
        Step(message.ts_init_ns, what, text, envelope.source, envelope.entry_id)
        for what, text in [_said(message)]
        if what
    ]
    if isinstance(message, Intent) and message.cause_ts_ns:
        text = f"the tick or bar that caused it{f', entry {message.cause_id}' if message.cause_id else ''}"
        steps.insert(0, Step(message.cause_ts_ns, "cause", text))
    return steps


def _said(message: Message) -> tuple[str, str]:
    """Return what a message is called in a story, and what it says; "" for what belongs into no story."""
    if isinstance(message, Intent):
        return _of_intent(message)
    if isinstance(message, Decision):
        if message.approved:
            warned = "".join(f"; warned: {one.code} {one.text}" for one in message.warned)
            return "approved", f"by risk{', it only reduces' if message.is_reducing else ''}{warned}"
        return "rejected", "; ".join(f"{one.code}: {one.text}" for one in message.failed)
    if isinstance(message, Command):
        return "command", "written for the gateway"
    if isinstance(message, CancelRequest):
        return "cancel asked", message.reason or "no reason given"
    if isinstance(message, CancelCommand):
        return "cancel passed", "by risk"
    if isinstance(message, OrderEvent):
        return _of_event(message)
    if isinstance(message, Fill):
        late = ", found later" if message.is_late else ""
        late += f", of a second order that IB made (permId {message.perm_id})" if message.is_double else ""
        return "fill", f"{_plain(message.quantity)} at {_plain(message.price)}, execution {message.exec_id}{late}"
    if isinstance(message, Commission):
        return "commission", f"{_plain(message.commission)} {message.currency}, execution {message.exec_id}"
    return "", ""


def _of_intent(intent: Intent) -> tuple[str, str]:
    legs = ", ".join(_terms(leg) for leg in intent.legs)
    name = intent.contract or f"#{intent.con_id}"
    what = f"modify {intent.modifies}" if intent.action is IntentAction.MODIFY else "intent"
    reason = f": {intent.reason}" if intent.reason else ""
    return what, f"{name} {legs} for {intent.strategy}{reason}"


def _terms(leg: OrderLeg) -> str:
    prices = [f"limit {_plain(leg.limit_price)}"] if leg.limit_price is not None else []
    prices += [f"stop {_plain(leg.stop_price)}"] if leg.stop_price is not None else []
    return " ".join([leg.side, _plain(leg.quantity), leg.order_type, *prices])


def _of_event(event: OrderEvent) -> tuple[str, str]:
    parts = [f"a second order that IB made of it (permId {event.perm_id})"] if event.is_double else []
    parts += [f"leg {event.leg}"] if event.leg else []
    parts += [f"filled {_plain(event.filled)} of {_plain(event.quantity)}"] if event.filled else []
    parts += [f"order id {event.order_id}"] if event.order_id and event.state == "claimed" else []
    parts += [f"broker: {event.broker_status}"] if event.broker_status else []
    parts += [f"by {event.by}"] if event.by else []
    parts += [f"{event.code} {event.text}".strip()] if event.code or event.text else []
    return str(event.state).replace("_", " "), ", ".join(parts)


def _plain(value: Decimal | None) -> str:
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
