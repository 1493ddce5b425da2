"""What the strategy service talks to: thin, carrying out the core's effects."""
