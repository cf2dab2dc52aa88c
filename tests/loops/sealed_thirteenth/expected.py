ADVISED = set()
"""Told as advice, by name."""
UNFOUND = set()
"""Not told, or by another name."""
