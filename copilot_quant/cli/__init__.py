"""The `cq` command line, one module per group of commands."""
