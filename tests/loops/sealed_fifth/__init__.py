"""Loops of the kinds that people name first, half of them with losses written out; measured once, open since."""
