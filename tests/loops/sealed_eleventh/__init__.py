"""Loops with mistakes that people name first, and that forums report; measured once, open since."""
