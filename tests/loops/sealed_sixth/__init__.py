"""Loops of the kinds that people name first, in ordinary styles; measured once, open since."""
