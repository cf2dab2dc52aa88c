"""Faults that a whole training shows: what was learned, of what, and whether it holds elsewhere."""
