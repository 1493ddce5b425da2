"""Compare what we know with what the broker shows, and return what is missing; never guess.

Invariants:
1. Everything the broker shows is taken: listings, completed orders, executions, ours and others'.
2. An order of ours that the broker does not show becomes UNKNOWN, and `not_sent` only on all four conditions of
   architecture §4: the broker accepted the same trading client id again, every part of the answer ended properly, no
   1100/2110 was outstanding, and a quarantine passed since the doubt began and since the last outage ended. An order
   the broker once showed (it has a permId) never becomes `not_sent`, nor one of before the broker's midnight: what
   became of it may not be shown any more.
3. Running it twice on the same evidence changes nothing the second time.
4. A session shows the orders of its own client id only: what another id of ours has is judged by a visit under that id,
   and doubted where neither a visit nor the list of everybody's orders has told of it for a while.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from services.gateway.core.book import Change, OrderBook
from services.gateway.core.evidence import BrokerOrder, Evidence
from services.gateway.core.order_machine import OrderFact, OrderTrack
from shared.messages.orders import OrderState

APART_COUNTS_NS = 20_000_000_000
"""How long it counts what another session than the trading one told of an order under another id of ours."""


@dataclass(slots=True)
class Findings:
    """What a round of evidence brought: `in_doubt` is what stays UNKNOWN and is asked for again."""

    change: Change = field(default_factory=Change)
    orders_shown: int = 0
    in_doubt: list[OrderTrack] = field(default_factory=list)


def reconcile(
    book: OrderBook, evidence: Evidence, *, now_ns: int, monotonic_ns: int, quarantine_ns: int, session: int
) -> Findings:
    """Take a whole round of evidence into the book and return what must be published.

    Args:
        book: changed in place.
        evidence: every part complete.
        now_ns: wall time for the events.
        monotonic_ns: the time that quarantines are measured on.
        quarantine_ns: how long an order must have been in doubt, and unseen, before it counts as not sent.
        session: number of the trading session that was asked, 0 if it was another.
    """
    findings = Findings()
    shown: dict[str, bool] = {}
    for order in (*evidence.completed_orders, *evidence.open_orders):
        if not _was_told(book, order, session):
            plain = replace(order, is_listed=False) if order.is_listed else order
            findings.change.add(book.shown(plain, now_ns, session=session))
        findings.orders_shown += 1
        _note_shown(book, shown, order.order_ref, order.perm_id)
    for execution in evidence.executions:
        findings.change.add(book.executed(execution, now_ns, is_late=True))
        _note_shown(book, shown, execution.order_ref, execution.perm_id)
    for track in book.open_tracks():
        if evidence.is_visit and track.client_id == evidence.client_id:
            track.seen_apart_ns = monotonic_ns
        if track.key in shown or (track.perm_id and str(track.perm_id) in shown):
            track.doubted_ns = 0
            continue
        _doubt(book, track, evidence, findings, now_ns, monotonic_ns, quarantine_ns)
    _settle_modifies(book, evidence, findings, now_ns, quarantine_ns)
    return findings


def _note_shown(book: OrderBook, shown: dict[str, bool], order_ref: str, perm_id: int) -> None:
    """Note that the broker shows an order; a second one under the orderRef of ours is no sign of the first."""
    shown[str(perm_id)] = True
    track = book.get(order_ref[:32]) if book.is_ours(order_ref) else None
    if track is not None and perm_id in (0, track.perm_id):
        shown[track.key] = True


def _was_told(book: OrderBook, order: BrokerOrder, session: int) -> bool:
    """Return whether a listed order went through the book as it came, in order with live messages.

    Then it only proves presence here: its terms may be older than a change that was told since.
    """
    track = book.get(order.order_ref[:32] if book.is_ours(order.order_ref) else str(order.perm_id))
    return track is not None and not order.is_completed and 0 != session == track.shown_in


def _settle_modifies(book: OrderBook, evidence: Evidence, findings: Findings, now_ns: int, quarantine_ns: int) -> None:
    """End modifies that the broker does not show although it shows their order; they are never repeated."""
    listed = {order.order_ref[:32] for order in evidence.open_orders}
    for target, waiting in list(book.modifies.items()):
        track = book.get(target)
        if track is None or target not in listed or now_ns - waiting.ts_event_ns < quarantine_ns:
            continue
        findings.change.events += book.settle_modify(
            track,
            OrderState.REJECTED,
            now_ns,
            by="gateway",
            code="GATEWAY_MODIFY_NOT_TAKEN",
            text="the broker shows the order with its old terms",
        )


def _doubt(
    book: OrderBook, track: OrderTrack, evidence: Evidence, findings: Findings,
    now_ns: int, monotonic_ns: int, quarantine_ns: int,
) -> None:  # fmt: skip
    """Judge one open order that no part of the answer shows."""
    if track.sent_ns and track.sent_ns >= evidence.asked_ns:
        return  # sent while the broker was being asked: the answer says nothing about it
    if track.is_external and track.client_id != evidence.client_id:
        # Other clients' orders are not part of these answers; the watch session follows them.
        return
    if track.client_id != evidence.client_id and (evidence.is_visit or _is_told_apart(track, monotonic_ns)):
        return
    if not track.doubted_ns:
        track.doubted_ns = monotonic_ns
    may_decide = (
        track.state in (OrderState.CLAIMED, OrderState.UNKNOWN)
        and not track.is_confirmed
        and track.client_id == evidence.client_id
        and evidence.is_undisturbed
        and track.intent_ts_ns >= evidence.shows_since_ns
        and evidence.asked_ns - max(track.doubted_ns, evidence.undisturbed_since_ns) >= quarantine_ns
    )
    if may_decide:
        findings.change.add(
            book.told(
                track,
                OrderFact.NEVER_SENT,
                now_ns,
                by="gateway",
                code="GATEWAY_NOT_SENT",
                text="the broker shows it nowhere: it was claimed and never reached the broker",
            )
        )
        return
    findings.change.add(
        book.told(
            track,
            OrderFact.DOUBTED,
            now_ns,
            by="gateway",
            code="GATEWAY_UNKNOWN",
            text="the broker does not show this order now: it counts as working until it does",
        )
    )
    findings.in_doubt.append(track)


def _is_told_apart(track: OrderTrack, monotonic_ns: int) -> bool:
    return bool(track.seen_apart_ns) and monotonic_ns - track.seen_apart_ns < APART_COUNTS_NS


def missing_external(book: OrderBook, shown_perms: set[int], own_client_id: int) -> list[OrderTrack]:
    """Return open orders of others that a complete list of all open orders does not show any more.

    How they ended is not known from that list: filled or cancelled; their executions are not ours to see.
    """
    return [
        track
        for track in book.open_tracks()
        if track.is_external and track.client_id != own_client_id and track.perm_id not in shown_perms
    ]
