"""What is told of these loops: blind, 31 of 55 failed, 28 by name, 4 more by advice; no alarm on the rest."""

ADVISED: set[str] = set()
"""Told as advice, by name."""
UNFOUND: set[str] = set()
"""Not told, or by another name."""
