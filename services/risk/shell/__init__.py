"""What the risk service talks to: thin, carrying out the core's effects."""
