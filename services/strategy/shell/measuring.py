"""Measure saved commits and report errors of strategies once each."""

from __future__ import annotations

from services.strategy import metrics
from services.strategy.core.saved import Commit
from services.strategy.shell.feed import RunningUnit
from shared.clock import NS_PER_S, Clock
from shared.logs import get_logger


class CommitMeter:
    """Turns commits into metrics and log events."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._errors: dict[str, int] = {}

    def saved(self, running: RunningUnit, commit: Commit, begun_ns: int) -> None:
        """Note a saved commit; `begun_ns` is when it was sent, on the monotonic clock."""
        metrics.COMMIT.observe((self._clock.monotonic_ns() - begun_ns) / NS_PER_S)
        if commit.intents:
            self._intents(running, commit)
        self._new_errors(running)

    def _intents(self, running: RunningUnit, commit: Commit) -> None:
        metrics.INTENTS.labels(running.declared.strategy.name).inc(len(commit.intents))
        cause_ns = commit.intents[0].cause_ts_ns
        if cause_ns:
            metrics.TICK_TO_INTENT.observe(max(0, self._clock.wall_ns() - cause_ns) / NS_PER_S)
        log = get_logger()
        for intent in commit.intents:
            log.debug("intent.committed", intent_id=intent.intent_id, unit=running.declared.unit_id)

    def _new_errors(self, running: RunningUnit) -> None:
        unit, unit_id = running.unit, running.declared.unit_id
        new = unit.saved.errors - self._errors.get(unit_id, 0)
        self._errors[unit_id] = unit.saved.errors
        if new <= 0:
            return
        metrics.ERRORS.labels(running.declared.strategy.name).inc(new)
        last = str(unit.recent_errors[-1]) if unit.recent_errors else ""
        get_logger().error(
            "strategy.raised", unit=unit_id, errors=unit.saved.errors, last=last, paused=unit.saved.paused
        )
