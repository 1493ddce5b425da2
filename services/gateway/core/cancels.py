"""Remember which cancels are still to be carried out: of orders that no session has shown yet, or that are elsewhere.

Invariants:
1. A cancel that was asked for is due each time its order is shown, until it was sent in that session.
2. At most `keep` cancels are remembered that named no order the leader knew.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.gateway.core.order_machine import OrderTrack
from shared.messages.orders import CancelRequest


class Cancels:
    """The cancels of one leader."""

    def __init__(self, *, keep: int) -> None:
        self._keep = keep
        self._wanted: dict[str, str] = {}
        self._unmet: dict[str, CancelRequest] = {}
        """Intent → its cancel, when no order of it was known: one whose claim Redis lost may still be shown."""
        self._sent: dict[str, tuple[int, str]] = {}
        """Order → (session, reason) of the last cancel: one that a lost session may have swallowed is sent again."""

    def want(self, track: OrderTrack, reason: str) -> None:
        """Note that an order is to be cancelled as soon as that can be asked."""
        self._wanted[track.key] = reason

    def unmet(self, cancel: CancelRequest) -> None:
        """Note a cancel of which no order is known."""
        self._unmet[cancel.intent_id] = cancel
        while len(self._unmet) > self._keep:
            del self._unmet[next(iter(self._unmet))]

    def sent(self, track: OrderTrack, session: int, reason: str) -> None:
        """Note that a session was asked."""
        self._sent[track.key] = (session, reason)

    def due(self, track: OrderTrack, session: int) -> str | None:
        """Return why an order that was shown in a session is to be cancelled now, None if it is not."""
        if not track.is_open:
            self._wanted.pop(track.key, None)
            self._sent.pop(track.key, None)
            return None
        reason = self._wanted.pop(track.key, None)
        unmet = self._unmet.get(track.intent_id)
        if reason is None and unmet is not None and unmet.leg in (None, track.leg) and not track.cancel_sent_ns:
            reason = unmet.reason
        sent = self._sent.get(track.key)
        if reason is None and sent is not None and sent[0] != session:
            reason = sent[1]
        return reason

    def is_wanted(self, track: OrderTrack) -> bool:
        """Return whether somebody asked for an order's end, and no session could be asked yet."""
        return track.key in self._wanted

    def elsewhere(self, tracks: Iterable[OrderTrack], client_id: int) -> list[OrderTrack]:
        """Return those of the open orders that are to be cancelled and live under another id than the one in use."""
        if not self._wanted:
            return []
        known = {track.key: track for track in tracks}
        self._wanted = {key: reason for key, reason in self._wanted.items() if key in known}
        return [known[key] for key in self._wanted if known[key].client_id not in (0, client_id)]
