"""Loops with each of the mistakes that people name first, a fourth author's, and healthy ones of every family; measured once, open since."""
