"""Faults of data: contents, order, overlap, and what is drawn at random."""
