"""Loops with each of the mistakes that people name first, a sixth author's; measured once, open since."""
