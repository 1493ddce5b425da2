"""What the gateway service decides: pure, given events and time, returning effects."""
