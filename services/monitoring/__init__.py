"""The monitoring service: watches health, lag and alerts, and serves the status page."""
