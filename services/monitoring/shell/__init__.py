"""What the monitoring service talks to: thin, carrying out the core's effects."""
