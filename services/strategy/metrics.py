"""Metrics of a strategy worker."""

from __future__ import annotations

from shared.metrics import counter, gauge, histogram

TICKS = counter("cq_strategy_ticks_total", "ticks decoded by this worker")
INTENTS = counter("cq_strategy_intents_total", "intents committed", ["strategy"])
ERRORS = counter("cq_strategy_errors_total", "errors raised by handlers", ["strategy"])
UNITS = gauge("cq_strategy_owned_units_info", "units this worker owns")
LAG = gauge("cq_strategy_lag_seconds", "how far behind the bus this worker reads")
COMMIT = histogram("cq_strategy_commit_seconds", "time to save one commit")
TICK_TO_INTENT = histogram("cq_strategy_tick_to_intent_seconds", "from a tick's gateway time to its intent's commit")
