"""Faults in words: what traces show of them, with cause and remedy. Thresholds belong to the checks."""
