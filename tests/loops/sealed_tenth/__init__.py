"""Loops by two authors who had seen no check and no other loop here."""
