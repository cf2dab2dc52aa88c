"""Loops by a third author who had seen neither checks nor other loops here; measured once, open since."""
