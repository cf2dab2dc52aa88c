"""What is told of these loops: blind, 27 of 36 failed, 26 by name, 7 more by advice; 1 alarm on 44 sound ones."""

ADVISED = set()
"""Told as advice, by name."""
UNFOUND = set()
"""Not told, or by another name."""
