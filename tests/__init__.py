"""The tests; a package only at this level, because a library of ours (eventkit) installs a `tests` of its own."""
