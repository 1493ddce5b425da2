"""The front door: the Python API of the user's guide and the `cq` command line."""
