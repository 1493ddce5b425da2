"""Hold the intents that wait for the broker's answer, in order, and know how far the committed cursor may move.

Invariants:
1. Intents of one strategy are decided in the order in which they were read; one that waits holds back nobody else.
2. The cursor never passes an intent that is not decided: a successor reads it again. What is decided behind it is read
   again too, and stays decided (`decide.lua`).
3. At most `WAITING_MAX` wait; beyond that the caller refuses.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shared.bus.ports import Entry
from shared.messages.orders import Intent

WAITING_MAX = 1000


@dataclass(frozen=True, slots=True)
class Held:
    """An intent that was read: its entry, and the entry read before it ("" for the first)."""

    entry: Entry
    intent: Intent
    before: str
    read_ns: int


class Waiting:
    """The intents that wait. The first of each strategy is the one that the broker is asked about."""

    def __init__(self) -> None:
        self._rows: dict[str, deque[Held]] = {}
        self._undecided: dict[str, str] = {}
        """Entry → the entry read before it, in the order of reading."""

    def __bool__(self) -> bool:
        """Return whether any waits."""
        return bool(self._undecided)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._undecided)

    @property
    def is_full(self) -> bool:
        """Return whether no more may wait."""
        return len(self._undecided) >= WAITING_MAX

    def put(self, held: Held) -> None:
        """Let an intent wait behind those of its strategy."""
        self._rows.setdefault(held.intent.strategy, deque()).append(held)
        self._undecided[held.entry.entry_id] = held.before

    def strategies(self) -> list[str]:
        """Return of whom intents wait."""
        return list(self._rows)

    def head(self, strategy: str) -> Held | None:
        """Return the first of a strategy."""
        row = self._rows.get(strategy)
        return row[0] if row else None

    def decided(self, held: Held) -> None:
        """Take the first of a strategy out: it is about to be answered. Does nothing for one that never waited."""
        strategy = held.intent.strategy
        row = self._rows.get(strategy)
        if row and row[0] is held:
            row.popleft()
            del self._undecided[held.entry.entry_id]
            if not row:
                del self._rows[strategy]

    def cursor(self, latest: str) -> str:
        """Return up to where every intent is decided, "" if that is not known to have moved.

        Args:
            latest: the entry read last; whoever asks has decided all that do not wait.
        """
        return next(iter(self._undecided.values()), latest)
