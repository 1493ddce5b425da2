"""What services share: messages, bus, leases, settings, time; it decides nothing about trading."""
