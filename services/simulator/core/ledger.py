"""Write down everything that really happened at the broker, whatever any client was told.

An entry is a JSON object with `seq`, `ts_ns`, `kind` and the facts of its kind. Kinds: `order_received`,
`modify_received`, `cancel_received`, `order_state`, `execution`, `correction`, `session_opened`, `session_started`,
`session_refused`, `session_closed`, `fault`, `cash`.

Invariants:
1. Entries are only ever appended, in the order things happened.
2. `orders_sent_twice` counts order references with more than one new order; a modify is not a new order.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

MAX_IN_MEMORY = 500_000
_write = json.JSONEncoder(default=str).encode
"""One encoder for all lines: `json.dumps` with a `default` makes a new one for each."""


class Ledger:
    """The truth, in memory and as lines to be stored by the shell."""

    def __init__(self, first_seq: int = 1) -> None:
        self._seq = first_seq
        self.lines: deque[str] = deque(maxlen=MAX_IN_MEMORY)
        self._unsaved: list[str] = []
        self._orders_by_ref: dict[str, int] = {}
        self.counts: dict[str, int] = {}

    def append(self, now_ns: int, kind: str, **facts: Any) -> None:
        """Append one entry."""
        line = _write({"seq": self._seq, "ts_ns": now_ns, "kind": kind, **facts})
        self._note(kind, facts)
        self._seq += 1
        self.lines.append(line)
        self._unsaved.append(line)

    def restore(self, line: str) -> None:
        """Take back a stored entry."""
        entry = json.loads(line)
        self._seq = int(entry["seq"]) + 1
        self.lines.append(line)
        self._note(entry["kind"], entry)

    def take_unsaved(self) -> list[str]:
        """Return the lines that have not been stored yet."""
        lines, self._unsaved = self._unsaved, []
        return lines

    def _note(self, kind: str, facts: dict[str, Any]) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "order_received" and facts.get("order_ref") and facts.get("accepted", True):
            ref = facts["order_ref"]
            self._orders_by_ref[ref] = self._orders_by_ref.get(ref, 0) + 1

    def sent_twice(self) -> dict[str, int]:
        """Return the order references that came with more than one new order, with their counts."""
        return {ref: count for ref, count in self._orders_by_ref.items() if count > 1}

    def tail(self, after_seq: int = 0) -> list[str]:
        """Return the entries with a higher number."""
        if not self.lines:
            return []
        first = json.loads(self.lines[0])["seq"]
        skip = max(0, after_seq + 1 - first)
        return [line for index, line in enumerate(self.lines) if index >= skip]
