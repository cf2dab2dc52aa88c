"""Faults of a model by itself: its shapes, samples and parameters, its beginning, what it uses."""
