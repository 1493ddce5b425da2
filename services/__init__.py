"""The processes of the system; they meet only on the bus."""
