"""Write openOrder without writing again what has not changed: TWS shows an order three times on its way to a fill.

Of the message's 130 fields only the state differs from one showing to the next. What stands before and after it is
kept as text for as long as the order object itself is the same one, which is never changed in place.

Invariant: the bytes are the codec's; a test compares them.
"""

from __future__ import annotations

from shared.tws.contract import TwsContract
from shared.tws.framing import encode_frame
from shared.tws.order import TwsOrder
from shared.tws.responses import OpenOrder

MOST_KEPT = 500
"""Orders whose text is kept for a session; beyond, the oldest are written anew."""
_Kept = tuple[TwsOrder, TwsContract, str, tuple[int, int], str, str]


class OrderFrames:
    """The frames of one session's openOrders."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._kept: dict[int, _Kept] = {}

    def frame(self, message: OpenOrder) -> bytes:
        """Return the frame of a message."""
        _, _, _, _, before, after = self._around(message)
        return encode_frame((before + message.state_text(self._version) + after).encode("ascii"))

    def _around(self, message: OpenOrder) -> _Kept:
        ids = (message.order_id, message.client_id)
        kept = self._kept.get(message.perm_id)
        if (
            kept is not None
            and kept[0] is message.order
            and kept[1] is message.contract
            and kept[2] == message.shares_allocation
            and kept[3] == ids
        ):
            return kept
        before, after = message.around_state(self._version)
        kept = (message.order, message.contract, message.shares_allocation, ids, before, after)
        if len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept.pop(message.perm_id, None)
        self._kept[message.perm_id] = kept
        return kept
