"""Metrics of the monitoring service."""

from __future__ import annotations

from shared.metrics import counter, gauge

ALERTS = counter("cq_alerts_total", "alerts raised, by severity", ["severity"])
STANDING = gauge("cq_alerts_standing_entries", "alerts that stand now")
NOTIFY_FAILED = counter("cq_alert_notifications_failed_total", "alerts that no notification service took")
PROCESS_UP = gauge("cq_process_up", "processes that beat, by service", ["service"])
DEAD_LETTER = gauge("cq_dead_letter_entries", "entries in dead-letter")
CONTROLS = counter("cq_web_controls_total", "controls given through the page, by result", ["result"])
AUDIT_RECORDS = counter("cq_audit_records_total", "records written to the audit")
