"""What the marketdata service decides: pure, given events and time, returning effects."""
