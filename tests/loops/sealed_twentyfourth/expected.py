"""What is told of these loops: blind, 7 of 9 failed, all by name, 2 more by advice; no alarm on the rest."""

ADVISED = {
    "digit_and_rotation",  # Gradients of one task that are reset before the step may have been read.
    "digit_vae",  # A term alone may be propagated first.
}
"""Told as advice, by name."""
UNFOUND: set[str] = set()
"""Not told, or by another name."""
