"""What is told of these recipes: blind, 29 of 45 failed, 26 by name, 3 more by advice."""

ADVISED: set[str] = set()
"""Told as advice, by name."""
UNFOUND: set[str] = set()
"""Not told, or by another name."""
