"""What is told of these loops: blind, 27 of 36 failed, all by name, 5 more by advice; no alarm on 112 sound ones."""

ADVISED = set()
"""Told as advice, by name."""
UNFOUND = set()
"""Not told, or by another name."""
