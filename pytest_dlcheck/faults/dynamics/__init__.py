"""Faults that gradients, steps and schedules show while a model trains."""
