"""Faults of a recipe's loss: what it is given, what it leaves out, what it cannot be."""
