"""Faults of what a loop validates: which data, which weights, which of them are kept."""
