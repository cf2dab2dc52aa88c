"""Loops in the shape of ordinary projects, over the kinds that people name first; measured once, open since."""
