"""The message bus: names, ports, and their Redis and in-memory implementations."""
