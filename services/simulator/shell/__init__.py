"""What the simulator service talks to: thin, carrying out the core's effects."""
