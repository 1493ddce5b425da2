"""Turn approved commands into claims, and claims into what may be sent: one final result per intent and leg.

Invariants:
1. Only `claimed` makes a `ClaimedOrder`, and only from rows that the claim script wrote in this very epoch; the broker
   session sends nothing else (P1, P2).
2. Order ids are max(nextValidId, ledger, ids seen) + 1 and are reserved in the claim script.
3. A modify keeps the order's own id and is claimed under its own intent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from operator import attrgetter
from typing import Protocol, TypeVar

from services.gateway.core.order_machine import OrderTrack
from shared.bus.ports import ClaimRequest, ClaimResult, LedgerRow
from shared.ids import order_ref
from shared.messages.base import put_together
from shared.messages.orders import Command, Group, IntentAction, OrderEvent, OrderLeg, OrderState, Side

_REFUSALS: dict[ClaimResult, tuple[OrderState, str, str]] = {
    ClaimResult.REFUSED_HALTED: (OrderState.REFUSED, "GATEWAY_HALTED", "trading is halted: nothing was sent"),
    ClaimResult.REFUSED_EXPIRED: (OrderState.EXPIRED, "GATEWAY_EXPIRED", "its time was over before it could be sent"),
    ClaimResult.REFUSED_CANCELLED_FIRST: (
        OrderState.REFUSED, "GATEWAY_CANCELLED_FIRST", "a cancel came before it was sent",
    ),
    ClaimResult.REFUSED_STALE: (
        OrderState.REFUSED, "GATEWAY_STALE", "it was made before Redis lost or changed its data: give it again",
    ),
    ClaimResult.REFUSED_WINDOW: (
        OrderState.REFUSED, "GATEWAY_BROKER_WINDOW", "the broker is expected to be away: give it again afterwards",
    ),
    ClaimResult.REFUSED_SCOPE_HALTED: (
        OrderState.REFUSED, "GATEWAY_SCOPE_HALTED",
        "its strategy or its contract is halted or paused: nothing was sent",
    ),
}  # fmt: skip

_NO_IDS = {"order_id": 0, "client_id": 0}
_BLANK = {name: None if one.is_required() else one.default for name, one in OrderEvent.model_fields.items()}
"""Every field of an order event, in its order, with its default."""
_NAMES = set(_BLANK)
MODIFY_CODE = "GATEWAY_MODIFY"
"""Code of the claimed event of a MODIFY intent; such an event is no order."""


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """One order as it would be written to the broker; it may be encoded, but not sent.

    `transmit` False holds the leg at TWS until the last leg of its group comes; `parent_id` is the order id of leg 0 of
    a bracket; `oca_group` names a one-cancels-all group. `account` is set on every order.
    """

    order_id: int
    order_ref: str
    account: str
    con_id: int
    side: Side
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    tif: str
    outside_rth: bool
    transmit: bool
    parent_id: int = 0
    oca_group: str = ""


@dataclass(frozen=True, slots=True)
class ClaimedOrder(OrderTerms):
    """One order that may be sent, once, right now. Made by `claimed` and `claimed_modify` only."""


T = TypeVar("T", bound=OrderTerms)
terms_in: Callable[[OrderTerms], tuple[object, ...]] = attrgetter(*(field.name for field in fields(OrderTerms)))
"""Returns all that an order says, to compare one that is claimed with one that was only encoded."""


class _WhenAsked(Mapping[ClaimResult, tuple[OrderEvent, ...]]):
    """Refusals that are made when somebody asks for one: an order that is claimed does not wait for them."""

    def __init__(self, make: Callable[[], Mapping[ClaimResult, tuple[OrderEvent, ...]]]) -> None:
        self._make = make
        self._made: Mapping[ClaimResult, tuple[OrderEvent, ...]] | None = None

    def _all(self) -> Mapping[ClaimResult, tuple[OrderEvent, ...]]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, result: ClaimResult) -> tuple[OrderEvent, ...]:
        return self._all()[result]

    def __iter__(self) -> Iterator[ClaimResult]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class KnownOrders(Protocol):
    """What `keep_known` asks of the book."""

    def get(self, key: str) -> OrderTrack | None:
        """Return a track by orderRef."""
        ...


LOST_IDS = 1000
"""More orders than the pace of IB's messages lets through before a TWS that hangs is left alone."""
LOST_EVERY_US, LOST_IN_A_ROW = 500_000, 64
"""Leaderships that begin so far apart take ids of their own, so many in a row, knowing nothing of each other."""


def room_for_lost_ids(epoch: int) -> int:
    """Return how many order ids a leadership leaves alone when Redis may have lost the claims of earlier ones.

    Args:
        epoch: the leadership's; microseconds of wall time at least (`shared/leases/elector.py`).
    """
    return LOST_IDS * (1 + epoch // LOST_EVERY_US % LOST_IN_A_ROW)


class OrderIds:
    """The next free order ids of one trading client id.

    Args:
        room: how many ids are left alone between those known to be used and the first that is taken. An order that
            a predecessor wrote may still wait in a TWS that hangs, and Redis may have lost its claim: another order
            under its id would be read as a change of it.
    """

    def __init__(self, *, room: int = 0) -> None:
        self._highest = 0
        self._room = room

    @property
    def highest(self) -> int:
        """Return the highest id known to be used."""
        return self._highest

    def next_valid(self, order_id: int) -> None:
        """Note the broker's nextValidId, which is the first unused one; it may go back, we never do (ib-facts A.5)."""
        self._highest = max(self._highest, order_id - 1)

    def seen(self, order_id: int) -> None:
        """Note an id that is used."""
        self._highest = max(self._highest, order_id)

    def take(self, count: int) -> tuple[int, ...]:
        """Return `count` ids never given before."""
        first = self._highest + 1 + self._room
        self._highest, self._room = first + count - 1, 0
        return tuple(range(first, first + count))


def _event(
    command: Command, leg: OrderLeg, deployment_id: str, now_ns: int, state: OrderState, *, order_id: int = 0,
    client_id: int = 0, by: str = "gateway", code: str = "", text: str = "",
) -> OrderEvent:  # fmt: skip
    intent = command.intent
    # All of it comes out of a validated command: what pydantic took to look at it again was a tenth of the gateway's
    # part of an order. `test_ledger.py` compares with what the class makes.
    return put_together(OrderEvent, {
        **_BLANK,
        "ts_init_ns": now_ns, "ts_event_ns": now_ns, "intent_id": intent.intent_id, "leg": leg.leg,
        "order_ref": order_ref(deployment_id, intent.intent_id, leg.leg), "state": state,  # type: ignore[arg-type]
        "strategy": intent.strategy, "account": intent.account, "con_id": intent.con_id, "contract": intent.contract,
        "side": leg.side, "quantity": leg.quantity, "order_type": str(leg.order_type), "limit_price": leg.limit_price,
        "stop_price": leg.stop_price, "tif": str(leg.tif), "outside_rth": leg.outside_rth,
        "parent_leg": leg.parent_leg, "group": intent.group, "remaining": leg.quantity, "order_id": order_id,
        "client_id": client_id, "by": by, "code": code, "text": text, "is_reducing": command.is_reducing,
        "intent_ts_ns": intent.ts_init_ns,
    }, _NAMES)  # fmt: skip


def claim_request(
    command: Command, *, entry_id: str, deployment_id: str, client_id: int, order_ids: Sequence[int], now_ns: int,
    late_reason: str = "", window: str = "",
) -> ClaimRequest:  # fmt: skip
    """Return everything the claim script needs.

    Args:
        command: what risk approved.
        entry_id: its entry in `commands`.
        deployment_id: goes into every orderRef.
        client_id: the trading client id.
        order_ids: one per leg.
        now_ns: wall time, compared with the command's `not_after_ns`.
        late_reason: why it could not be sent in time, shown if it ends EXPIRED.
        window: the broker's window that has come, or nothing; what adds exposure is then refused with it.
    """
    legs = command.intent.legs
    if_claimed = tuple(
        _event(command, leg, deployment_id, now_ns, OrderState.CLAIMED, order_id=order_id, client_id=client_id)
        for leg, order_id in zip(legs, order_ids, strict=True)
    )
    # What cannot come of this claim is not written out: each outcome costs its encoding before an order can go.
    impossible = {
        ClaimResult.REFUSED_EXPIRED: now_ns <= command.not_after_ns,
        ClaimResult.REFUSED_WINDOW: not window,
    }
    why = {ClaimResult.REFUSED_EXPIRED: late_reason, ClaimResult.REFUSED_WINDOW: window}

    def refusals() -> dict[ClaimResult, tuple[OrderEvent, ...]]:
        refused: dict[ClaimResult, tuple[OrderEvent, ...]] = {}
        for result, (state, code, text) in _REFUSALS.items():
            if impossible.get(result):
                continue
            reason = why.get(result, "")
            said = {"state": state, "code": code, "text": f"{text}: {reason}" if reason else text}
            refused[result] = tuple(event.model_copy(update={**said, **_NO_IDS}) for event in if_claimed)
        return refused

    return ClaimRequest(
        intent_id=command.intent.intent_id, legs=len(legs), client_id=client_id, order_ids=tuple(order_ids),
        not_after_ns=command.not_after_ns, now_ns=now_ns, is_reducing=command.is_reducing, made_in=command.incarnation,
        cursor_entry=entry_id, is_in_window=bool(window), if_claimed=if_claimed, if_refused=_WhenAsked(refusals),
        strategy=command.intent.strategy, con_id=command.intent.con_id,
    )  # fmt: skip


def modify_request(
    command: Command, target: OrderTrack | None, *, refusal: str, entry_id: str, deployment_id: str, now_ns: int
) -> ClaimRequest:
    """Return the claim of a MODIFY: under its own intent, with the order's own id.

    The claimed event carries `MODIFY_CODE` and the order's orderRef as its text, so that a successor knows what is in
    doubt. With a `refusal` the event written at the claim is the modify's outcome, and nothing is sent.
    """
    leg = command.intent.legs[0]
    order_id = target.order_id if target is not None else 0
    client_id = target.client_id if target is not None else 0
    request = claim_request(
        command, entry_id=entry_id, deployment_id=deployment_id, client_id=client_id, order_ids=(order_id,),
        now_ns=now_ns,
    )  # fmt: skip
    event = (
        _event(command, leg, deployment_id, now_ns, OrderState.REFUSED, code="GATEWAY_CANNOT_MODIFY", text=refusal)
        if refusal or target is None
        else _event(
            command, leg, deployment_id, now_ns, OrderState.CLAIMED, order_id=order_id, client_id=client_id,
            code=MODIFY_CODE, text=target.order_ref,
        )
    )  # fmt: skip
    return replace(request, if_claimed=(event,))


def may_be_at_broker(command: Command, incarnation: str) -> bool:
    """Return whether a command may have been sent though its claim is not known: it is of before a loss of Redis.

    What the broker has of it is asked before it is refused: the book of a new leader may lack the order as well.
    """
    return command.incarnation != incarnation


def keep_known(request: ClaimRequest, known: KnownOrders) -> ClaimRequest:
    """Return the claim with the last word repeated, instead of a refusal, for legs that are known to be at the broker.

    After Redis has lost a claim its command is read again, and refused as stale; the order itself lives on and ends by
    the broker's evidence (architecture §4, incarnation). A refusal would tell risk that it does not count any more.
    """

    def kept() -> dict[ClaimResult, tuple[OrderEvent, ...]]:
        return {
            result: tuple(
                event if (track := known.get(event.order_ref)) is None else track.event(request.now_ns)
                for event in events
            )
            for result, events in request.if_refused.items()
        }

    return replace(request, if_refused=_WhenAsked(kept))


def failed_events(command: Command, *, deployment_id: str, now_ns: int, code: str, text: str) -> list[OrderEvent]:
    """Return the final events of a command that was claimed and certainly not written to the broker."""
    return [
        _event(command, leg, deployment_id, now_ns, OrderState.NOT_SENT, code=code, text=text)
        for leg in command.intent.legs
    ]


def was_claimed_now(rows: Sequence[LedgerRow], request: ClaimRequest, epoch: int) -> bool:
    """Return whether every leg was claimed in this epoch with just the ids of this request.

    Rows that are not new count too: a claim whose reply was lost is repeated with the same ids, by the one process that
    knows that it has not sent them yet.
    """
    return len(rows) == request.legs and all(
        row.result is ClaimResult.CLAIMED and row.epoch == epoch and row.order_id == order_id
        for row, order_id in zip(rows, request.order_ids, strict=True)
    )


def claimed(command: Command, rows: Sequence[LedgerRow], *, deployment_id: str) -> list[ClaimedOrder]:
    """Return the orders to send, all in one write: parents first, the last leg transmits the group."""
    return _orders(ClaimedOrder, command, [row.order_id for row in rows], deployment_id)


def hoped_for(command: Command, order_ids: Sequence[int], *, deployment_id: str) -> list[OrderTerms]:
    """Return what `claimed` will make of a command if its claim succeeds with these ids."""
    return _orders(OrderTerms, command, order_ids, deployment_id)


def _orders(kind: type[T], command: Command, ids: Sequence[int], deployment_id: str) -> list[T]:
    intent = command.intent
    last = len(intent.legs) - 1
    is_bracket = intent.group is Group.BRACKET
    return [
        kind(
            order_id=ids[index],
            order_ref=order_ref(deployment_id, intent.intent_id, leg.leg),  # type: ignore[arg-type]
            account=intent.account, con_id=intent.con_id, side=leg.side, quantity=leg.quantity,
            order_type=leg.order_type, limit_price=leg.limit_price, stop_price=leg.stop_price, tif=leg.tif,
            outside_rth=leg.outside_rth, transmit=not is_bracket or index == last,
            parent_id=ids[leg.parent_leg] if leg.parent_leg is not None else 0,
            oca_group=intent.intent_id if intent.group is Group.OCA else "",
        )
        for index, leg in enumerate(intent.legs)
    ]  # fmt: skip


def claimed_modify(
    command: Command, rows: Sequence[LedgerRow], target: OrderTrack, parent_id: int
) -> list[ClaimedOrder]:
    """Return the changed order to send: the same id and orderRef, new price and size (ib-facts A.4)."""
    leg = command.intent.legs[0]
    return [
        ClaimedOrder(
            order_id=rows[0].order_id, order_ref=target.order_ref, account=target.account, con_id=target.con_id,
            side=target.side, quantity=leg.quantity, order_type=target.order_type, limit_price=leg.limit_price,
            stop_price=leg.stop_price, tif=leg.tif, outside_rth=leg.outside_rth, transmit=True, parent_id=parent_id,
            oca_group=target.intent_id if target.group is Group.OCA else "",
        )
    ]  # fmt: skip


def why_not_modify(command: Command, target: OrderTrack | None, session: int) -> str:
    """Return why a modify may not be sent, or nothing: only an order this session has shown open (architecture §4)."""
    if command.intent.action is not IntentAction.MODIFY:
        return "it is no modify"
    if target is None:
        return f"no order of intent {command.intent.modifies} is known"
    if not target.is_open:
        return f"the order is {target.state}"
    if target.state not in (OrderState.WORKING, OrderState.PENDING, OrderState.INACTIVE):
        return f"the order is {target.state}: it is not modified until the broker shows it working"
    if not target.perm_id or target.shown_in != session:
        return "the broker has not shown this order in the present session"
    return ""
