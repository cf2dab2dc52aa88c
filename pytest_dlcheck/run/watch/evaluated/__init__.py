"""Models that are called without gradients: validations, averages, teachers. No judgement."""
