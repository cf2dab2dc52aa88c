"""Loops with each of the mistakes that people name first, one author's; measured once, open since."""
