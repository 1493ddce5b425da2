"""Metrics of the marketdata service."""

from __future__ import annotations

from shared.metrics import counter, gauge

TICKS = counter("cq_marketdata_ticks_total", "ticks read from the tick streams")
BARS = counter("cq_marketdata_bars_total", "bars published, by interval", ["interval"])
SILENT = gauge("cq_marketdata_silent_entries", "contracts without ticks although their market is open")
TOO_LATE = gauge("cq_marketdata_too_late_ticks", "trades that came too late for any bar")
LAG = gauge("cq_marketdata_lag_seconds", "age of the newest tick batch when it was read")
HISTORY_ASKED = counter("cq_marketdata_history_requests_total", "requests for historical bars made to the gateway")
HISTORY_ANSWERED = counter("cq_marketdata_history_queries_total", "history queries answered, by result", ["result"])
