"""Gradients, resets, clipping, optimizers and their schedules, from step to step. No judgement."""
