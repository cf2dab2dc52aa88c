"""Loops with each of the mistakes that people name first, another author's; measured once, open since."""
