"""The risk service: decides every intent exactly once and alone writes commands."""
