"""Faults of what a loop's losses compare."""
