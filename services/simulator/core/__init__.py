"""What the simulator service decides: pure, given events and time, returning effects."""
