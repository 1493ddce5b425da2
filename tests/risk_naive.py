"""The obvious twin of risk's book: exposure computed from the whole history, nothing running and nothing clever."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from services.risk.core.positions import ContractExposure
from shared.messages.base import Message
from shared.messages.orders import Command, Fill, Group, IntentAction, OrderEvent, OrderState

ZERO = Decimal(0)


def naive_exposure(history: Sequence[Message], con_id: int) -> tuple[Decimal, Decimal, Decimal]:
    """Return (position, buys that may fill, sells that may fill) of one contract."""
    intents: dict[str, tuple[Group, dict[int, tuple[int, int | None]]]] = {}
    for message in history:
        if not isinstance(message, Command) or message.intent.con_id != con_id:
            continue
        if message.intent.action is IntentAction.PLACE:
            legs = {leg.leg: (leg.side.sign, leg.parent_leg) for leg in message.intent.legs}
            intents[message.intent.intent_id] = (message.intent.group, legs)
    position = buys = sells = ZERO
    for intent_id, (group, legs) in intents.items():
        facts = []
        for number, (sign, parent) in legs.items():
            filled = _filled(history, intent_id, number)
            working = max(ZERO, _quantity(history, intent_id, number) - filled)
            position += sign * filled
            facts.append((sign, parent, filled, working if _is_open(history, intent_id, number) else ZERO))
        more_buys, more_sells = _worst(group, facts)
        buys += more_buys
        sells += more_sells
    return position, buys, sells


def _events(history: Sequence[Message], intent_id: str, leg: int) -> list[OrderEvent]:
    return [one for one in history if isinstance(one, OrderEvent) and (one.intent_id, one.leg) == (intent_id, leg)]


def _filled(history: Sequence[Message], intent_id: str, leg: int) -> Decimal:
    executions = {
        one.exec_stem: one.quantity
        for one in history
        if isinstance(one, Fill) and (one.intent_id, one.leg) == (intent_id, leg)
    }
    reported = [
        max(one.filled, one.quantity) if one.state is OrderState.FILLED else one.filled
        for one in _events(history, intent_id, leg)
    ]
    return max(sum(executions.values(), ZERO), *reported, ZERO)


def _is_open(history: Sequence[Message], intent_id: str, leg: int) -> bool:
    events = _events(history, intent_id, leg)
    return not events or not events[-1].state.is_final


def _quantity(history: Sequence[Message], intent_id: str, leg: int) -> Decimal:
    """Return the worse of what was last shown (or approved) and every modify in doubt."""
    shown = ZERO
    doubts: list[tuple[str, Decimal]] = []
    for message in history:
        if isinstance(message, Command):
            intent = message.intent
            if intent.intent_id == intent_id:
                shown = next(one.quantity for one in intent.legs if one.leg == leg)
            elif intent.modifies == intent_id and intent.legs[0].leg == leg:
                doubts.append((intent.intent_id, intent.legs[0].quantity))
        elif isinstance(message, OrderEvent):
            if (message.intent_id, message.leg) == (intent_id, leg):
                shown = message.quantity
                met = [at for at, (_, quantity) in enumerate(doubts) if quantity == shown]
                doubts = doubts[met[-1] + 1 :] if met else doubts
            elif message.state.is_final:
                doubts = [one for one in doubts if one[0] != message.intent_id]
    return max([shown, *(quantity for _, quantity in doubts)])


def _worst(group: Group, facts: list[tuple[int, int | None, Decimal, Decimal]]) -> tuple[Decimal, Decimal]:
    sides = {1: ZERO, -1: ZERO}
    if group is Group.OCA:
        for sign, _, _, working in facts:
            sides[sign] = max(sides[sign], working)
    elif group is Group.BRACKET:
        sign, _, filled, working = facts[0]
        children = facts[1:]
        closed = sum((child[2] for child in children), ZERO)
        largest = max((child[3] for child in children), default=ZERO)
        sides[sign] = working
        sides[-sign] = min(largest, max(ZERO, filled - closed))
    else:
        for sign, _, _, working in facts:
            sides[sign] += working
    return sides[1], sides[-1]


def naive_best(contract: ContractExposure) -> tuple[Decimal | None, Decimal | None]:
    """Return the highest buy limit and the lowest sell limit that work, from every leg there is."""
    buys: list[Decimal] = []
    sells: list[Decimal] = []
    for group in contract.groups.values():
        for leg in group.legs.values():
            parent = None if leg.parent is None else group.legs.get(leg.parent)
            waits = parent is not None and parent.is_open and len(group.legs) > 1
            if leg.is_open and not waits and leg.limit_price is not None and leg.stop_price is None:
                (buys if leg.sign > 0 else sells).append(leg.limit_price)
    return max(buys, default=None), min(sells, default=None)
