"""Choose the open orders that a halt cancels: what adds exposure goes, what protects or closes a position stays (P6).

Whether an order only reduces was decided by risk and is kept with its claim. Where Redis has lost that, the broker's
list alone tells of an order of ours, and the account's position in its contract says what it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from services.gateway.core.order_machine import OrderTrack
from shared.ids import UNASSIGNED
from shared.messages.orders import OrderState
from shared.money import ZERO

_STOPS = ("STP", "STP LMT", "TRAIL", "TRAIL LIMIT")


def must_go(
    tracks: Iterable[OrderTrack], positions: Mapping[int, Decimal] | None, *, everything: bool
) -> list[OrderTrack]:
    """Return the orders to cancel, in their order.

    A bracket's children protect what its parent filled: they stay, and go with the parent if it never fills. Orders by
    hand and of other programs stay.

    Args:
        tracks: open orders.
        positions: signed shares by conId as the broker shows them, None while it has not listed them.
        everything: the person asked for all, also what protects and what is not ours.
    """
    if everything:
        return [track for track in tracks if track.state is not OrderState.CLAIMED]
    return [
        track
        for track in tracks
        if not track.is_external
        and not track.is_reducing
        and track.parent_leg is None
        and not (track.strategy == UNASSIGNED and _closes(track, positions))
    ]


def _closes(track: OrderTrack, positions: Mapping[int, Decimal] | None) -> bool:
    """Return whether an order of which only the broker tells closes what is held; unknown: whether it is a stop."""
    if positions is None:
        return track.order_type in _STOPS
    held = positions.get(track.con_id, ZERO)
    return held * track.side.sign < ZERO and track.remaining <= abs(held)
