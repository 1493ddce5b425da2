"""Merge recorded streams by time into the one order in which the bus had them.

Invariants:
1. Entries come in the order of their ids, which is the server's time; of equal ids the stream named first goes first.
2. An entry that was recorded twice (a crash between writing and noting it) comes once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping

from shared.bus.ports import Entry, entry_order


def without_repeats(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield a stream's entries once each, oldest first."""
    last = (-1, -1)
    for entry in entries:
        order = entry_order(entry.entry_id)
        if order > last:
            last = order
            yield entry


def merged(streams: Mapping[str, Iterable[Entry]]) -> Iterator[Entry]:
    """Yield the entries of all streams, oldest first."""

    def keyed(number: int, entries: Iterable[Entry]) -> Iterator[tuple[tuple[int, int], int, Entry]]:
        for entry in without_repeats(entries):
            yield entry_order(entry.entry_id), number, entry

    parts = [keyed(number, entries) for number, entries in enumerate(streams.values())]
    for _, _, entry in heapq.merge(*parts, key=lambda row: (row[0], row[1])):
        yield entry
