"""Declare the simulator's metrics."""

from __future__ import annotations

from shared.metrics import counter, gauge

MESSAGES_SENT = counter("cq_simulator_messages_sent_total", "messages written to clients")
REQUESTS_RECEIVED = counter("cq_simulator_requests_received_total", "requests read from clients")
SESSIONS_CUT = counter("cq_simulator_sessions_cut_total", "sessions ended because a client did not read")
LATE = gauge("cq_simulator_late_seconds", "how late the exchange was for its last timer")
