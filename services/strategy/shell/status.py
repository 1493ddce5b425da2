"""Write the `strategies` hash: per unit what `cq strategies` shows and what marketdata subscribes to."""

from __future__ import annotations

import json
from collections.abc import Mapping

from services.strategy.shell.feed import RunningUnit
from services.strategy.shell.loader import Loaded
from services.strategy.shell.slowness import Slowness
from shared.bus.ports import Bus
from shared.clock import NS_PER_S, Clock
from shared.logs import get_logger

PUBLISH_EVERY_NS = NS_PER_S


class StatusRows:
    """The rows of one worker's units; written once a second and at once when units come or go."""

    def __init__(self, bus: Bus, worker: str, loaded: Loaded, clock: Clock) -> None:
        self._bus = bus
        self._worker = worker
        self._loaded = loaded
        self._clock = clock
        self._written_ns = -PUBLISH_EVERY_NS
        self._shown: tuple[tuple[str, ...], ...] = ()
        self._has_cleaned = False
        self._slowness = Slowness()

    def adopt(self, loaded: Loaded) -> None:
        """Show other units than before: the strategies file was read again."""
        self._loaded = loaded
        self._has_cleaned = False
        self._shown = ()

    async def publish(self, units: Mapping[str, RunningUnit], taken: Mapping[str, str], lag_s: float) -> None:
        """Write the rows if they are due."""
        now_ns = self._clock.monotonic_ns()
        shown = (tuple(units), tuple(taken))
        if shown == self._shown and now_ns - self._written_ns < PUBLISH_EVERY_NS:
            return
        self._shown, self._written_ns = shown, now_ns
        if units:
            watched = next(iter(units.values())).unit.watched
            for unit_id in self._slowness.look(watched.spent_ns, now_ns):
                get_logger().warning("strategy.slow", unit=unit_id, share=round(self._slowness.shares[unit_id], 2))
        rows = {unit_id: self._row(running, lag_s) for unit_id, running in units.items()}
        rows.update({unit_id: self._waiting(unit_id, reason) for unit_id, reason in taken.items()})
        rows.update({name: self._mistake(name, sentence) for name, sentence in self._loaded.mistakes.items()})
        if rows:
            await self._bus.hash_set(self._bus.keys.strategies, {key: json.dumps(row) for key, row in rows.items()})
        if not self._has_cleaned:
            await self._remove_undeclared()
            self._has_cleaned = True

    async def _remove_undeclared(self) -> None:
        """Remove rows of units that the strategies file does not name any more."""
        known = {*self._loaded.units, *self._loaded.mistakes}
        gone = [key for key in await self._bus.hash_get_all(self._bus.keys.strategies) if key not in known]
        if gone:
            await self._bus.hash_delete(self._bus.keys.strategies, gone)

    def _row(self, running: RunningUnit, lag_s: float) -> dict[str, object]:
        unit = running.unit
        return {
            "unit": running.declared.unit_id,
            "strategy": running.declared.strategy.name,
            "owner": self._worker,
            "state": "stopped" if unit.why_stopped else "running" if running.is_joined else "catching up",
            "contracts": list(unit.contracts),
            "names": [info.name for info in unit.contracts.values()],
            "bars": list(running.declared.strategy.bars),
            "lag": round(lag_s, 3),
            "errors": unit.saved.errors,
            "error": unit.why_stopped or (str(unit.recent_errors[-1]) if unit.recent_errors else ""),
            "event": unit.recent_errors[-1].event_id if unit.recent_errors else "",
            "paused": unit.why_not_trading,
            "positions": unit.book.summary({con_id: info.name for con_id, info in unit.contracts.items()}),
            "working": len(unit.book.open_orders()),
            "unanswered": len(unit.saved.pending),
            "busy": round(self._slowness.shares.get(unit.identity.unit, 0.0), 3),
            "stale_orders": unit.outbox.stale,
            "commit": unit.last_commit,
            "updated_ns": self._clock.wall_ns(),
        }

    def _waiting(self, unit_id: str, reason: str) -> dict[str, object]:
        declared = self._loaded.units[unit_id]
        return {
            **self._empty(unit_id, declared.strategy.name, reason),
            "owner": self._worker,
            "state": "stopped" if reason.startswith("stopped") else "waiting",
            "names": list(declared.contracts),
            "bars": list(declared.strategy.bars),
        }

    def _mistake(self, name: str, sentence: str) -> dict[str, object]:
        return {**self._empty(name, name, sentence), "state": "stopped"}

    def _empty(self, unit_id: str, strategy: str, error: str) -> dict[str, object]:
        return {
            "unit": unit_id,
            "strategy": strategy,
            "owner": "",
            "contracts": [],
            "names": [],
            "bars": [],
            "lag": 0.0,
            "errors": 1 if error else 0,
            "error": error,
            "paused": error,
            "positions": {},
            "working": 0,
            "updated_ns": self._clock.wall_ns(),
        }
