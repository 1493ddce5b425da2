"""Keep every order that is known, find the one a message speaks of, and say what must be published.

Invariants:
1. An order of ours is found by orderRef first, then by permId, then by (client id, order id); never by the latter
   alone when the permId disagrees, since order ids are handed out again (ib-facts A.5).
2. Two permIds under one orderRef are two orders: the second gets a track of its own and is reported as a duplicate.
3. An event is returned exactly when what a reader of `orders` would notice has changed.
4. Memory is bounded: final orders are forgotten oldest first above `keep_final`; what is open never is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from services.gateway.core.evidence import BrokerExecution, BrokerOrder, BrokerOrderStatus
from services.gateway.core.fills import fill_of
from services.gateway.core.ledger import MODIFY_CODE
from services.gateway.core.order_machine import OrderFact, OrderTrack, status_fact, track_of
from shared.ids import UNASSIGNED, deployment_tag, exec_stem, parse_order_ref
from shared.messages.orders import Commission, Fill, OrderEvent, OrderState
from shared.money import ZERO

_NEVER_THERE = (OrderState.NOT_SENT, OrderState.REFUSED, OrderState.EXPIRED)


@dataclass(slots=True)
class Change:
    """What a piece of evidence changed: events to publish, and what a person or the shell must act on."""

    events: list[OrderEvent] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    reopened: list[OrderTrack] = field(default_factory=list)
    """Declared as never at the broker, and there after all: to be cancelled and alarmed."""
    duplicates: list[OrderTrack] = field(default_factory=list)
    """A second order under an orderRef of ours: to be cancelled and alarmed (P2)."""

    def add(self, other: Change) -> None:
        """Take over what another change brings."""
        self.events += other.events
        self.fills += other.fills
        self.reopened += other.reopened
        self.duplicates += other.duplicates


class OrderBook:
    """Every order this gateway knows of, ours and others'."""

    def __init__(self, deployment_id: str, account: str, *, keep_final: int = 50_000) -> None:
        self._tag = deployment_tag(deployment_id)
        self._account = account
        self._keep_final = keep_final
        self._tracks: dict[str, OrderTrack] = {}
        self._open: dict[str, OrderTrack] = {}
        self._by_intent: dict[str, list[str]] = {}
        self._highest_order_id = 0
        self.last_fill_ns = 0
        """The broker's time of its latest execution that is known."""
        self.fills_taken = 0
        """How many fills were returned for publishing."""
        self._by_perm: dict[int, OrderTrack] = {}
        self._by_id: dict[tuple[int, int], OrderTrack] = {}
        self.modifies: dict[str, OrderEvent] = {}
        """orderRef of an order → the claimed event of the one modify that waits for the broker's word on it."""
        self._published: dict[str, int] = {}
        self._commissions: dict[str, bool] = {}
        self._strategy_of_exec: dict[str, tuple[str, int]] = {}

    # -- looking

    def __iter__(self) -> Iterator[OrderTrack]:
        """Yield every track, oldest first."""
        return iter(list(self._tracks.values()))

    def __len__(self) -> int:
        """Return how many orders are known."""
        return len(self._tracks)

    def open_tracks(self) -> list[OrderTrack]:
        """Return what is not final."""
        return list(self._open.values())

    def odd_tracks(self) -> list[OrderTrack]:
        """Return what is open and should not be at the broker."""
        return [track for track in self._open.values() if track.is_odd]

    def get(self, key: str) -> OrderTrack | None:
        """Return a track by orderRef, or by permId as text."""
        return self._tracks.get(key)

    def of_intent(self, intent_id: str, leg: int | None = None) -> list[OrderTrack]:
        """Return the legs of an intent, in order."""
        tracks = [self._tracks[key] for key in self._by_intent.get(intent_id, ()) if key in self._tracks]
        return sorted((each for each in tracks if leg is None or each.leg == leg), key=lambda track: track.leg)

    def by_order_id(self, client_id: int, order_id: int) -> OrderTrack | None:
        """Return the order that carries an id of a client."""
        return self._by_id.get((client_id, order_id))

    def highest_order_id(self) -> int:
        """Return the highest order id seen, of any client: new ids must exceed them all (ib-facts A.3)."""
        return self._highest_order_id

    def is_ours(self, order_ref: str) -> bool:
        """Return whether an orderRef carries this deployment's tag."""
        parsed = parse_order_ref(order_ref)
        return parsed is not None and parsed[0] == self._tag

    def track_of_exec(self, exec_id: str) -> tuple[str, int]:
        """Return (strategy, conId) of an execution seen before, for its commission; unassigned if never seen."""
        return self._strategy_of_exec.get(exec_id, (UNASSIGNED, 0))

    # -- taking

    def restore(self, event: OrderEvent) -> None:
        """Take an event as published (by us or a predecessor): what comes later in the stream wins."""
        if not (event.order_ref or event.perm_id):
            return
        if event.code == MODIFY_CODE and event.state is OrderState.CLAIMED:
            self.modifies[event.text] = event
            return
        if self._end_modify(event.order_ref) or event.state is OrderState.MODIFIED:
            return  # however a change ended: it is no order, and its ids are those of the order it changes
        key = event.order_ref or str(event.perm_id)
        known = self._tracks.get(key)
        track = track_of(event)
        if known is not None:
            track.executions, track.shown_in = known.executions, known.shown_in
            track.sent_ns, track.is_echoed, track.doubted_ns = known.sent_ns, known.is_echoed, known.doubted_ns
            track.reported = max(track.reported, known.reported)
            track.cancel_sent_ns = known.cancel_sent_ns
        # A predecessor may have seen it and died before it was cancelled.
        is_reopened = track.previous in _NEVER_THERE
        track.is_odd = track.is_double or (is_reopened and track.is_open) or (known is not None and known.is_odd)
        self.put(track)

    def restore_fill(self, message: Fill | Commission) -> None:
        """Take an entry of `fills` as published: the same execution is not offered again."""
        if isinstance(message, Commission):
            self._commissions[message.exec_id] = True
            _shorten(self._commissions, self._keep_final * 4)
            return
        self.last_fill_ns = max(self.last_fill_ns, message.ts_event_ns)
        self._published[message.exec_stem] = max(message.revision, self._published.get(message.exec_stem, 0))
        _shorten(self._published, self._keep_final * 4)
        self._remember_exec(message.exec_id, message.strategy, message.con_id)

    def is_commission_new(self, exec_id: str) -> bool:
        """Return whether a commission is not on the bus as far as we know, and note it."""
        is_new = exec_id not in self._commissions
        self._commissions[exec_id] = True
        _shorten(self._commissions, self._keep_final * 4)
        return is_new

    def _remember_exec(self, exec_id: str, strategy: str, con_id: int) -> None:
        self._strategy_of_exec[exec_id] = (strategy, con_id)
        _shorten(self._strategy_of_exec, self._keep_final * 4)

    def _end_modify(self, modify_ref: str) -> bool:
        for target, waiting in self.modifies.items():
            if waiting.order_ref == modify_ref:
                del self.modifies[target]
                return True
        return False

    def settle_modify(
        self, track: OrderTrack, state: OrderState, now_ns: int, *, by: str = "broker", code: str = "", text: str = ""
    ) -> list[OrderEvent]:
        """End the modify that waits on an order, if one does; return its outcome."""
        waiting = self.modifies.pop(track.order_ref, None)
        if waiting is None:
            return []
        return [
            waiting.model_copy(
                update={
                    "state": state, "previous": OrderState.CLAIMED, "by": by, "code": code, "text": text,
                    "ts_init_ns": now_ns, "ts_event_ns": now_ns, "remaining": ZERO, "perm_id": track.perm_id,
                }
            )
        ]  # fmt: skip

    def _watch_modify(self, track: OrderTrack, now_ns: int) -> list[OrderEvent]:
        """Settle a modify once the broker shows its terms, or the order has ended without them."""
        waiting = self.modifies.get(track.order_ref)
        if waiting is None:
            return []
        if (waiting.quantity, waiting.limit_price, waiting.stop_price) == (
            track.quantity, track.limit_price, track.stop_price,
        ):  # fmt: skip
            return self.settle_modify(track, OrderState.MODIFIED, now_ns)
        if track.state.is_final:
            text = f"the order is {track.state}: it ended before the change"
            return self.settle_modify(track, OrderState.REJECTED, now_ns, code="GATEWAY_MODIFY_TOO_LATE", text=text)
        return []

    def put(self, track: OrderTrack) -> None:
        """Add or replace a track."""
        self._tracks[track.key] = track
        self._index(track)
        if len(self._tracks) > self._keep_final * 2:
            self._forget()

    def _index(self, track: OrderTrack) -> None:
        if track.perm_id:
            self._by_perm[track.perm_id] = track
        if track.order_id:
            self._by_id[(track.client_id, track.order_id)] = track
            self._highest_order_id = max(self._highest_order_id, track.order_id)
        if track.intent_id:
            keys = self._by_intent.setdefault(track.intent_id, [])
            if track.key not in keys:
                keys.append(track.key)
        self._sort_in(track)

    def _sort_in(self, track: OrderTrack) -> None:
        if track.is_open:
            self._open[track.key] = track
        else:
            self._open.pop(track.key, None)

    def _forget(self) -> None:
        final = [key for key, track in self._tracks.items() if track.state.is_final]
        for key in final[: max(0, len(final) - self._keep_final)]:
            track = self._tracks.pop(key)
            self._by_perm.pop(track.perm_id, None)
            self._by_intent.pop(track.intent_id, None)
            self._by_id.pop((track.client_id, track.order_id), None)

    def shown(self, order: BrokerOrder, now_ns: int, *, session: int) -> Change:
        """Take an openOrder or completedOrder; `session` numbers the trading session, 0 for any other."""
        change = Change()
        if order.account and order.account != self._account:
            return change
        track = self._find(order, change)
        is_new = track.key not in self._tracks
        before = () if is_new else track.face()
        state_before = track.state
        self._take_terms(track, order)
        if session and order.client_id == track.client_id and not order.is_completed:
            track.shown_in = session
        fact = status_fact(order.status, is_listed=order.is_listed)
        track.apply(fact, text=order.text, code="")
        self.put(track)
        return self._noted(track, before, state_before, now_ns, change)

    def _find(self, order: BrokerOrder, change: Change) -> OrderTrack:
        ours = parse_order_ref(order.order_ref) if self.is_ours(order.order_ref) else None
        if ours is not None:
            key = order.order_ref[:32]
            track = self._tracks.get(key)
            if track is None:
                return self._adopted(order, key, ours[1], ours[2], UNASSIGNED)
            if track.perm_id and order.perm_id and track.perm_id != order.perm_id:
                return self._second(order, track, change)
            return track
        known = self._by_perm.get(order.perm_id) if order.perm_id else None
        if known is not None:
            return known
        return self._adopted(order, "", "", 0, UNASSIGNED)

    def _second(self, order: BrokerOrder, first: OrderTrack, change: Change) -> OrderTrack:
        known = self._by_perm.get(order.perm_id)
        if known is not None:
            return known
        track = self._adopted(order, "", first.intent_id, first.leg, first.strategy)
        track.is_odd = True
        change.duplicates.append(track)
        return track

    def _adopted(self, order: BrokerOrder, key: str, intent_id: str, leg: int, strategy: str) -> OrderTrack:
        return OrderTrack(
            order_ref=key, intent_id=intent_id, leg=leg, strategy=strategy, account=self._account, con_id=order.con_id,
            side=order.side, quantity=order.quantity, order_type=order.order_type, contract=order.contract,
            state=OrderState.UNKNOWN, is_external=not key, perm_id=order.perm_id,
        )  # fmt: skip

    @staticmethod
    def _take_terms(track: OrderTrack, order: BrokerOrder) -> None:
        if order.quantity > ZERO and not order.is_completed:
            track.quantity = order.quantity
            track.limit_price, track.stop_price = order.limit_price, order.stop_price
            track.order_type, track.tif = order.order_type or track.order_type, order.tif or track.tif
            track.outside_rth = order.outside_rth
        if order.is_completed:  # often the amount is in `filled` alone; a change of ours may be lost with Redis
            track.quantity = max(track.quantity, order.quantity) or order.filled or ZERO
        track.perm_id = order.perm_id or track.perm_id
        track.order_id = order.order_id or track.order_id
        track.client_id = order.client_id or track.client_id
        track.broker_status = order.status or track.broker_status
        if order.filled is not None:
            track.reported = max(track.reported, order.filled)

    def status(self, line: BrokerOrderStatus, now_ns: int) -> Change:
        """Take an orderStatus; one for an order nobody has shown yet changes nothing (its openOrder will come)."""
        track = self._by_perm.get(line.perm_id) if line.perm_id else None
        if track is None:
            track = self._by_id.get((line.client_id, line.order_id))
            if track is None or (track.perm_id and line.perm_id and track.perm_id != line.perm_id):
                return Change()
        before, state_before = track.face(), track.state
        track.perm_id = line.perm_id or track.perm_id
        track.broker_status = line.status
        if line.filled > track.reported:
            track.reported = line.filled
        if line.average_price is not None and line.filled >= track.filled:
            track.average_price = line.average_price
        track.apply(status_fact(line.status), text=line.why_held)
        self._index(track)
        return self._noted(track, before, state_before, now_ns, Change())

    def is_published(self, stem: str) -> bool:
        """Return whether an execution is known to be on the bus."""
        return stem in self._published

    def executed(self, execution: BrokerExecution, now_ns: int, *, is_late: bool, origin: str = "") -> Change:
        """Take an execution; its fill is returned unless it is known to be on the bus.

        Whether a returned one is new is decided by the index on the bus (P3): a repeat there is none.
        """
        change = Change()
        if execution.account and execution.account != self._account:
            return change
        track, is_second = self._track_of_execution(execution)
        self._remember_exec(execution.exec_id, track.strategy if track is not None else UNASSIGNED, execution.con_id)
        self.last_fill_ns = max(self.last_fill_ns, execution.ts_ns)
        stem, revision = exec_stem(execution.exec_id)
        if self._published.get(stem, 0) < revision:
            self._published[stem] = revision
            _shorten(self._published, self._keep_final * 4)
            ref = parse_order_ref(execution.order_ref) if self.is_ours(execution.order_ref) else None
            fill = fill_of(
                execution, track, self._account, ref, now_ns, is_late=is_late, is_second=is_second, origin=origin
            )
            self.fills_taken += 1
            change.fills.append(fill)
        if track is None or is_second:
            return change
        before, state_before = track.face(), track.state
        if execution.perm_id and not track.perm_id:
            track.perm_id = execution.perm_id
            self._index(track)
        track.executed(execution.exec_id, execution.shares, execution.price)
        return self._noted(track, before, state_before, now_ns, change)

    def _track_of_execution(self, execution: BrokerExecution) -> tuple[OrderTrack | None, bool]:
        """Return whose it is; with True it is of a second order under that one's orderRef, which was not shown yet."""
        by_perm = self._by_perm.get(execution.perm_id) if execution.perm_id else None
        if by_perm is not None:
            return by_perm, False
        if not self.is_ours(execution.order_ref):
            return None, False
        track = self._tracks.get(execution.order_ref[:32])
        return track, bool(track is not None and track.perm_id and execution.perm_id)

    def told(
        self, track: OrderTrack, fact: OrderFact, now_ns: int, *, by: str = "broker", code: str = "", text: str = ""
    ) -> Change:
        """Take a fact that an error, a timer or reconciliation brings."""
        before, state_before = track.face(), track.state
        track.apply(fact, by=by, code=code, text=text)
        return self._noted(track, before, state_before, now_ns, Change())

    def _noted(
        self, track: OrderTrack, before: tuple[object, ...], state_before: OrderState, now_ns: int, change: Change
    ) -> Change:
        self._sort_in(track)
        if track.face() != before:
            change.events.append(track.event(now_ns))
        change.events += self._watch_modify(track, now_ns)
        if state_before in _NEVER_THERE and track.is_open:
            track.is_odd = True
            change.reopened.append(track)
        return change


def _shorten(known: dict[str, Any], limit: int) -> None:
    """Forget the older half of a memory that has grown beyond its limit."""
    if len(known) > limit:
        for key in list(known)[: limit // 2]:
            del known[key]
