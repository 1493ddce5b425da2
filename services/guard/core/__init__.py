"""What the guard service decides: pure, given events and time, returning effects."""
