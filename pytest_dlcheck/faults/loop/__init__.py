"""Faults of a loop's own order: who steps, when, and in which mode."""
