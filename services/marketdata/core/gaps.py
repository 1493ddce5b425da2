"""Notice contracts whose data stopped while their market is open, once per silence.

A contract is silent once no tick of it came for `limit_ns` while the market was open all that time. What came counts by
our receipt, so that delayed data that flows is not silent.
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


class StaleWatch:
    """Watches the wanted contracts; `check` is called about once a second."""

    def __init__(self, limit_ns: int) -> None:
        self._limit_ns = limit_ns
        self._silent: dict[int, int] = {}
        self._watched: dict[int, int] = {}

    @property
    def silent(self) -> dict[int, int]:
        """Return the silent contracts with the time of their last tick (or of when we began to want them)."""
        return dict(self._silent)

    def want(self, con_ids: tuple[int, ...], now_ns: int) -> None:
        """Watch exactly these contracts; a new one has `limit_ns` from now to send its first tick."""
        self._watched = {con_id: self._watched.get(con_id, now_ns) for con_id in con_ids}
        self._silent = {con_id: since for con_id, since in self._silent.items() if con_id in self._watched}

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
