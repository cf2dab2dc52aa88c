"""Loops with each of the mistakes that people name first, a third author's; measured once, open since."""
