"""Redis Streams behind ports: writers, readers, groups, dead letters."""
