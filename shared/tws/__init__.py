"""The TWS socket protocol as a sans-IO core: bytes in, messages out."""
