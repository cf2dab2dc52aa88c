"""Faults of a loop's batches: the same again, edited in place, seeded anew."""
