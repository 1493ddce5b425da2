"""The guide's import paths for strategies."""
