"""What the gateway service talks to: thin, carrying out the core's effects."""
