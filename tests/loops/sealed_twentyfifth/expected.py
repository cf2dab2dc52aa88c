"""What is told of these loops: blind, 7 of 9 failed, all by name, 1 more by advice; no alarm on the rest."""

ADVISED = {
    "two_tower_catalogue",  # A network in the optimizer that is only called without gradients.
}
"""Told as advice, by name."""
UNFOUND: set[str] = set()
"""Not told, or by another name."""
