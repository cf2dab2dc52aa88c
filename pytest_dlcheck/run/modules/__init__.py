"""Modules by themselves: what they hold, and how it came there. No training, no recipe."""
