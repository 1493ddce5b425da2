"""Run the whole system on one machine: an embedded Redis, the services, one supervisor (supervisord)."""
