"""Keep what has ended small: orders whose legs are all final, packed to bytes, dropped when nothing can come of them.

Invariants:
1. An ended order adds nothing to what works; its fills are in the positions already. It is kept for what comes late: an
   execution that was found afterwards, a correction, an entry written a second time after a loss of Redis. Those open
   it again, with all it knew, so nothing is counted twice and an amended quantity is amended (P3, P4).
2. IB shows executions since midnight of its zone, so after `KEEP_NS` nothing of it can be published any more; what came
   all the same would differ from the broker's position and make the contract reduce-only (P11).
3. At most `ENDED_MAX` are kept, the newest.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgpack

from services.risk.core.legs import Leg, OrderGroup
from shared.messages.orders import Group, OrderState

KEEP_NS = 3 * 86_400 * 1_000_000_000
ENDED_MAX = 40_000
"""About 400 bytes each."""


class Ended:
    """Ended orders by key, the longest ended first. An ended modify is only a name that is known."""

    def __init__(self) -> None:
        self._packed: dict[str, tuple[int, bytes]] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._packed)

    def __contains__(self, key: str) -> bool:
        """Return whether an order or modify ended not long ago."""
        return key in self._packed

    def put(self, group: OrderGroup, now_ns: int) -> None:
        """Keep an order whose legs have all ended."""
        self._keep(group.key, now_ns, pack_group(group))

    def put_modify(self, intent_id: str, now_ns: int) -> None:
        """Remember that a modify has ended."""
        self._keep(intent_id, now_ns, b"")

    def take(self, key: str) -> OrderGroup | None:
        """Return an ended order to work with again, None if there is none."""
        found = self._packed.get(key)
        if found is None or not found[1]:
            return None
        del self._packed[key]
        return unpack_group(found[1])

    def is_modify(self, key: str) -> bool:
        """Return whether an ended modify has this name."""
        found = self._packed.get(key)
        return found is not None and not found[1]

    def rows(self) -> Iterator[tuple[str, int, bytes]]:
        """Return what is kept: key, when it ended, packed; for a snapshot."""
        for key, (ended_ns, packed) in self._packed.items():
            yield key, ended_ns, packed

    def put_row(self, key: str, ended_ns: int, packed: bytes) -> None:
        """Take a row of a snapshot, in the order of `rows`."""
        self._packed[key] = (ended_ns, packed)

    def _keep(self, key: str, now_ns: int, packed: bytes) -> None:
        self._packed.pop(key, None)
        self._packed[key] = (now_ns, packed)
        while self._packed:
            oldest = next(iter(self._packed))
            if len(self._packed) <= ENDED_MAX and now_ns - self._packed[oldest][0] <= KEEP_NS:
                return
            del self._packed[oldest]


def pack_group(group: OrderGroup) -> bytes:
    """Return an order as bytes; `unpack_group` makes it again."""
    legs = [
        [
            *(leg.number, leg.sign, str(leg.quantity), _text(leg.limit_price), _text(leg.stop_price), leg.tif),
            *(leg.parent, leg.state, leg.is_open, leg.is_shown, str(leg.reported), str(leg.executed)),
            {stem: [revision, str(quantity)] for stem, (revision, quantity) in leg.executions.items()},
            {name: [str(terms[0]), _text(terms[1]), _text(terms[2])] for name, terms in leg.pending.items()},
            leg.is_reducing,
        ]
        for leg in group.legs.values()
    ]
    head = [group.key, group.con_id, group.strategy, group.kind, group.is_external, group.since_ns]
    packed: bytes = msgpack.packb([*head, legs])
    return packed


def unpack_group(packed: bytes) -> OrderGroup:
    """Return the order that `pack_group` packed, with its worst case counted.

    Raises:
        ValueError: these are not such bytes (also as TypeError and the errors of Decimal and msgpack).
    """
    key, con_id, strategy, kind, is_external, since_ns, legs = msgpack.unpackb(packed)
    group = OrderGroup(key, con_id, strategy, Group(kind), is_external=is_external)
    group.since_ns = since_ns
    for row in legs:
        leg = _leg(row)
        group.legs[leg.number] = leg
    group.recount()
    return group


def _leg(row: list[Any]) -> Leg:
    number, sign, quantity, limit, stop, tif, parent, state, is_open, is_shown, reported, executed, *maps = row
    leg = Leg(number, sign, Decimal(quantity))
    leg.limit_price, leg.stop_price, leg.tif, leg.parent = _number(limit), _number(stop), tif, parent
    leg.state = None if state is None else OrderState(state)
    leg.is_open, leg.is_shown = is_open, is_shown
    leg.reported, leg.executed = Decimal(reported), Decimal(executed)
    leg.executions = {stem: (revision, Decimal(quantity)) for stem, (revision, quantity) in maps[0].items()}
    leg.pending = {name: (Decimal(one), _number(two), _number(three)) for name, (one, two, three) in maps[1].items()}
    leg.is_reducing = len(maps) > 2 and maps[2]
    return leg


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
