"""Loops by somebody who had seen neither the checks nor any other loop here; measured once, open since."""
