"""Loops with each of the mistakes that people name first, a fifth author's; measured once, open since."""
