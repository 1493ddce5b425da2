"""Metrics of the risk service."""

from __future__ import annotations

from shared.metrics import counter, gauge, histogram

DECISIONS = counter("cq_risk_decisions_total", "intents decided, by answer (approved or the decisive code)", ["answer"])
CANCELS = counter("cq_risk_cancels_total", "cancel requests passed on to the gateway")
MALFORMED = counter("cq_risk_malformed_total", "entries that could not be read, by stream", ["stream"])
DECIDE_TIME = histogram(
    "cq_risk_decide_seconds",
    "CPU time of one decision with all rules",
    buckets=(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.01),
)
ANSWER_TIME = histogram("cq_risk_answer_seconds", "from reading an intent to its decision being written")
RESTORE_TIME = gauge("cq_risk_restore_seconds", "time the last rebuild or catch-up of the book took")
OPEN_ORDERS = gauge("cq_risk_open_orders", "order legs that count as working in risk's book")
MISMATCHED = gauge("cq_risk_mismatched_entries", "contracts whose books do not add up (P11)")
