"""Loops with mistakes drawn at random from those that people name and that forums report; measured once, open since."""
