"""Watches any training loop, unchanged: where it listens (taps), and what it makes of what it hears."""
