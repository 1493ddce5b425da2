"""The guard service: lets only the current leader trade: a relay in front of the broker's port."""
