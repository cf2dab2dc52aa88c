"""Loops of the 36 kinds by an eighth author; measured once, open since."""
