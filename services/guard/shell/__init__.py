"""What the guard service talks to: thin, carrying out the core's effects."""
