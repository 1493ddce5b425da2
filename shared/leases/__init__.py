"""Leadership by leases with epochs and fencing."""
