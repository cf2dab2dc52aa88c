"""Loops over all the kinds that people name first, with those of well-known repositories; measured once, open since."""
