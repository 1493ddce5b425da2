"""The gateway service: owns the broker session: publishes what the broker says, sends only approved commands."""
