"""Pace a session's messages as TWS does: 50 a second, by delaying the reading or by error 100.

Source: ib-facts A.11.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

NS_PER_S = 1_000_000_000
VIOLATIONS_TO_CLOSE = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a message: wait, refuse, or neither."""

    delay_ns: int = 0
    is_refused: bool = False
    is_last: bool = False


class Pacing:
    """Count messages per session in a sliding second.

    `mode` is "off", "delay" (TWS' default: it reads later) or "reject" (error 100, the third time the end).
    """

    def __init__(self, mode: str, per_second: int) -> None:
        self._mode = mode
        self._per_second = per_second
        self._times: dict[int, deque[int]] = {}
        self._violations: dict[int, int] = {}

    def on_message(self, session: int, now_ns: int) -> Verdict:
        """Count a message and say what happens with it."""
        if self._mode == "off":
            return Verdict()
        times = self._times.setdefault(session, deque(maxlen=self._per_second))
        is_full = len(times) == self._per_second
        free_ns = times[0] + NS_PER_S if is_full else now_ns
        if self._mode == "delay":
            # Times are when each message is read: later ones wait behind those that wait already.
            at_ns = max(now_ns, free_ns, times[-1] if times else 0)
            times.append(at_ns)
            return Verdict(delay_ns=at_ns - now_ns)
        if is_full and free_ns > now_ns:
            count = self._violations[session] = self._violations.get(session, 0) + 1
            return Verdict(is_refused=True, is_last=count >= VIOLATIONS_TO_CLOSE)
        times.append(now_ns)
        return Verdict()

    def forget(self, session: int) -> None:
        """Drop a session's counts."""
        self._times.pop(session, None)
        self._violations.pop(session, None)
