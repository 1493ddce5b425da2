"""Count the messages that went towards the broker within the last second: orders, changes and cancels together.

Invariants:
1. Each leg of a group is one message, each change is one, and each order that a cancel ends is one.
2. The count is the same for whoever reads the streams: limits have no part in it, so a restart and a take-over know it.
3. Memory is bounded by what goes in a second.

A message counts for a second by the clock that dates it. Where that clock is set back, what stands less than a second
ahead counts as sent now, what stands further ahead is forgotten.

Known limits: what the gateway cancels by itself in a halt is not counted, nor are its requests for data; an approved
order that the gateway refuses at its claim is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

WINDOW_NS = 1_000_000_000
"""The second of the broker's limit and of the exchanges'."""


class MessageCount:
    """The messages of one account."""

    __slots__ = ("_sent", "kept")

    def __init__(self) -> None:
        self._sent: deque[tuple[int, int]] = deque()
        """When and how many, in the order of time."""
        self.kept = 0
        """No fewer than went in the last second: what nearly every decision asks instead of counting."""

    def sent(self, count: int, now_ns: int) -> None:
        """Count messages from now on."""
        rows = self._sent
        while rows and rows[0][0] <= now_ns - WINDOW_NS:
            self.kept -= rows.popleft()[1]
        self.kept += count
        while rows and rows[-1][0] > now_ns:  # the clock was set back
            ahead_ns, ahead = rows.pop()
            if ahead_ns < now_ns + WINDOW_NS:
                count += ahead
            else:
                self.kept -= ahead
        rows.append((now_ns, count))

    def within(self, now_ns: int) -> int:
        """Return how many went within the last second. Changes nothing."""
        found = 0
        for sent_ns, count in reversed(self._sent):
            if sent_ns <= now_ns - WINDOW_NS:
                break
            if sent_ns < now_ns + WINDOW_NS:
                found += count
        return found

    def stored(self) -> list[list[int]]:
        """Return the count, for a snapshot."""
        return [list(row) for row in self._sent]

    def restore(self, stored: Iterable[Iterable[int]]) -> None:
        """Take `stored` of a snapshot."""
        self._sent = deque((sent_ns, count) for sent_ns, count in stored)
        self.kept = sum(count for _, count in self._sent)
