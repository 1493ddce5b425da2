"""Declare the simulator's metrics."""

from __future__ import annotations

from shared.metrics import counter, gauge, histogram

MESSAGES_SENT = counter("cq_simulator_messages_sent_total", "messages written to clients")
REQUESTS_RECEIVED = counter("cq_simulator_requests_received_total", "requests read from clients")
SESSIONS_CUT = counter("cq_simulator_sessions_cut_total", "sessions ended because a client did not read")
LATE = histogram(
    "cq_simulator_late_seconds",
    "from when something was due (a row of a replay, a timer) until it happened, for the first of each turn",
    buckets=(0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0),
)
MOST_LATE = gauge("cq_simulator_most_late_seconds", "the latest that anything has been since the start")
