"""The guide's import paths for brokers: thin facades."""
