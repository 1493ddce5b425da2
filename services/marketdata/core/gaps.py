"""Notice contracts whose data stopped while their market is open, once per silence.

A contract is silent once no tick of it came for `limit_ns` while the market was open all that time. What came counts by
our receipt, so that delayed data that flows is not silent.

TWS may let a subscription die without a word, after a reset even when it says that data were kept (1102; ib-facts D.4):
only a new request brings it back. A contract that simply does not trade looks the same, so that renewals become rarer.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.sessions import SessionCalendar


@dataclass(frozen=True, slots=True)
class WentSilent:
    """No tick since `since_ns` although the market is open."""

    con_id: int
    since_ns: int


@dataclass(frozen=True, slots=True)
class CameBack:
    """Ticks flow again after `silent_ns`."""

    con_id: int
    silent_ns: int


RARER = 2
LONGEST_PAUSE = 64
"""A pause between renewals is at most so many times the limit."""
SOUND = 10
"""A contract that was not silent for so many times the limit has its first pause again."""


@dataclass(slots=True)
class _Renewal:
    due_ns: int
    pause_ns: int


class StaleWatch:
    """Watches the wanted contracts; `check` is called about once a second."""

    def __init__(self, limit_ns: int) -> None:
        self._limit_ns = limit_ns
        self._silent: dict[int, int] = {}
        self._watched: dict[int, int] = {}
        self._renewals: dict[int, _Renewal] = {}

    @property
    def silent(self) -> dict[int, int]:
        """Return the silent contracts with the time of their last tick (or of when we began to want them)."""
        return dict(self._silent)

    def want(self, con_ids: tuple[int, ...], now_ns: int) -> None:
        """Watch exactly these contracts; a new one has `limit_ns` from now to send its first tick."""
        self._watched = {con_id: self._watched.get(con_id, now_ns) for con_id in con_ids}
        self._silent = {con_id: since for con_id, since in self._silent.items() if con_id in self._watched}
        self._renewals = {con_id: renewal for con_id, renewal in self._renewals.items() if con_id in self._watched}

    def check(
        self, last_tick_ns: dict[int, int], calendars: dict[int, SessionCalendar], now_ns: int
    ) -> list[WentSilent | CameBack]:
        """Return what changed: `last_tick_ns` is the receipt of each contract's last tick, wall ns."""
        changes: list[WentSilent | CameBack] = []
        for con_id, wanted_ns in self._watched.items():
            since_ns = max(last_tick_ns.get(con_id, 0), wanted_ns)
            was_silent = self._silent.get(con_id)
            if was_silent is not None:
                if since_ns > was_silent:
                    del self._silent[con_id]
                    changes.append(CameBack(con_id, since_ns - was_silent))
                continue
            if now_ns - since_ns <= self._limit_ns:
                continue
            calendar = calendars.get(con_id)
            if calendar is None or (calendar.is_open(now_ns) and calendar.is_open(now_ns - self._limit_ns)):
                self._silent[con_id] = since_ns
                changes.append(WentSilent(con_id, since_ns))
        return changes

    def renewals(self, now_ns: int) -> tuple[int, ...]:
        """Return the silent contracts to subscribe anew now: at once, and then after longer and longer pauses."""
        found = []
        for con_id in self._watched:
            renewal = self._renewals.get(con_id)
            if con_id not in self._silent:
                if renewal is not None and now_ns - renewal.due_ns > SOUND * self._limit_ns:
                    del self._renewals[con_id]
                continue
            if renewal is None:
                renewal = self._renewals[con_id] = _Renewal(now_ns, self._limit_ns)
            if now_ns >= renewal.due_ns:
                found.append(con_id)
                renewal.pause_ns = min(renewal.pause_ns * RARER, LONGEST_PAUSE * self._limit_ns)
                renewal.due_ns = now_ns + renewal.pause_ns
        return tuple(found)
