"""The strategy service: runs the user's strategies as leased units on identical workers."""
