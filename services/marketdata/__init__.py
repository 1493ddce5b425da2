"""The marketdata service: turns ticks into bars, snapshots, history and recordings."""
