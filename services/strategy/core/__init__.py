"""What the strategy service decides: pure, given events and time, returning effects."""
