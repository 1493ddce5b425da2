"""Metrics of the guard."""

from __future__ import annotations

from shared.metrics import counter, gauge, histogram

RELAY = histogram(
    "cq_guard_relay_seconds",
    "from reading a frame (down: frames that came together) to handing it to the other socket, by direction",
    ["direction"],
    buckets=(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0),
)
REFUSED = counter("cq_guard_refused_total", "hellos, claims, client ids, orders and requests refused", ["kind"])
CUTS = counter("cq_guard_cuts_total", "sessions cut because a newer leader came")
SESSIONS = gauge("cq_guard_sessions_entries", "open sessions, by kind", ["kind"])
EPOCH = gauge("cq_guard_highest_epoch", "the highest epoch that was ever admitted")
HOLDING = gauge("cq_guard_holding_info", "1 while the halt latch holds")
BROKER_UP = gauge("cq_guard_broker_up", "1 if the last API round trip to the broker succeeded")
BROKER_ROUND_TRIP = gauge("cq_guard_broker_round_trip_seconds", "the last API round trip: handshake, start, time")
