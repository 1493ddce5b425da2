"""Count who wants which contract, and say the whole wanted set when it changes.

Invariant: a contract is wanted while at least one source names it; the set is given out sorted, with a revision that
only grows, so that the gateway can tell an older request from a newer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from shared.messages.market import SubscriptionRequest


class Wants:
    """The wanted contracts by source (`unit:<id>`, `fixed`, `positions`).

    Args:
        revision: the last revision on the bus.
        known: the set of that revision; an equal set is not said again.
    """

    def __init__(self, revision: int = 0, known: Iterable[int] = ()) -> None:
        self._by_source: dict[str, tuple[int, ...]] = {}
        self._revision = revision
        self._said: tuple[int, ...] | None = tuple(sorted(known)) if revision else None

    def set_source(self, source: str, con_ids: Iterable[int]) -> None:
        """Replace what one source wants; nothing wanted forgets the source."""
        wanted = tuple(sorted({con_id for con_id in con_ids if con_id > 0}))
        if wanted:
            self._by_source[source] = wanted
        else:
            self._by_source.pop(source, None)

    def set_units(self, units: Mapping[str, Iterable[int]]) -> None:
        """Replace what all strategy units want: a unit that is gone wants nothing any more."""
        for source in [name for name in self._by_source if name.startswith("unit:")]:
            if source.removeprefix("unit:") not in units:
                del self._by_source[source]
        for unit, con_ids in units.items():
            self.set_source(f"unit:{unit}", con_ids)

    def count(self, con_id: int) -> int:
        """Return how many sources want a contract."""
        return sum(con_id in wanted for wanted in self._by_source.values())

    @property
    def con_ids(self) -> tuple[int, ...]:
        """Return the wanted contracts, sorted."""
        return tuple(sorted({con_id for wanted in self._by_source.values() for con_id in wanted}))

    def changed(self, now_ns: int, *, renew: tuple[int, ...] = ()) -> SubscriptionRequest | None:
        """Return the whole set if it differs from what was said last or some of it is to be renewed, else None."""
        wanted = self.con_ids
        if wanted == self._said and not renew:
            return None
        self._revision += 1
        self._said = wanted
        return SubscriptionRequest(con_ids=wanted, revision=self._revision, renew=renew, ts_init_ns=now_ns)


def wanted_by_units(rows: Mapping[str, bytes]) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """Return unit → wanted conIds from the `strategies` hash, and the units whose row cannot be read."""
    units: dict[str, tuple[int, ...]] = {}
    unreadable: list[str] = []
    for unit, row in rows.items():
        try:
            content = json.loads(row)
            named = content.get("contracts", [])
            units[unit] = tuple(int(con_id) for con_id in named)
        except (ValueError, TypeError, AttributeError):
            unreadable.append(unit)
    return units, unreadable
