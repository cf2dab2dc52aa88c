"""Loops with each of the mistakes that people name first, a seventh author's; measured once, open since."""
