"""The simulator service: a paper exchange that speaks the TWS socket protocol."""
