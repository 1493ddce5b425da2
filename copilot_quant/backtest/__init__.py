"""The guide's import paths for backtests: thin facades."""
