"""What the monitoring service decides: pure, given events and time, returning effects."""
