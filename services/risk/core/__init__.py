"""What the risk service decides: pure, given events and time, returning effects."""
