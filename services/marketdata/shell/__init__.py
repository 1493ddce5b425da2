"""What the marketdata service talks to: thin, carrying out the core's effects."""
