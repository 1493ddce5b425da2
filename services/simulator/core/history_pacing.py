"""Count requests for small bars as IB does: 60 in ten minutes, no identical one in 15 s, under 6 alike in 2 s.

Five-second bars count too. The counts are the login's, not a session's.

Source: ib-facts A.11.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from services.simulator.core.market import NS_PER_S

MAX_IN_WINDOW = 60
_WINDOW_NS = 600 * NS_PER_S
_IDENTICAL_NS = 15 * NS_PER_S
_BURST_NS = 2 * NS_PER_S
_BURST = 6
_MAX_KEYS = 1000
"""Older keys than this many are outside every window that matters, or the 60 were used up long before."""


class HistoryPacing:
    """One login's counts."""

    def __init__(self) -> None:
        self._all: deque[int] = deque()
        self._identical: OrderedDict[str, int] = OrderedDict()
        self._alike: OrderedDict[str, deque[int]] = OrderedDict()

    def admit(self, alike: str, exact: str, now_ns: int, weight: int = 1) -> bool:
        """Return whether a request is within the limits, and count it if so.

        `alike` names contract, exchange and kind of data, `exact` all of the request; BID_ASK weighs 2.
        """
        while self._all and self._all[0] <= now_ns - _WINDOW_NS:
            self._all.popleft()
        times = self._alike.get(alike)
        is_burst = times is not None and len(times) == _BURST - 1 and times[0] > now_ns - _BURST_NS
        is_repeat = self._identical.get(exact, -_IDENTICAL_NS) > now_ns - _IDENTICAL_NS
        if len(self._all) + weight > MAX_IN_WINDOW or is_repeat or is_burst:
            return False
        self._all.extend([now_ns] * weight)
        self._identical[exact] = now_ns
        self._identical.move_to_end(exact)
        self._alike.setdefault(alike, deque(maxlen=_BURST - 1)).append(now_ns)
        self._alike.move_to_end(alike)
        for table in (self._identical, self._alike):
            while len(table) > _MAX_KEYS:
                table.popitem(last=False)
        return True
