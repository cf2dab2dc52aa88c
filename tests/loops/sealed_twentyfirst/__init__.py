"""Loops of the 36 kinds by a ninth author, half of them on sequences and dictionaries; measured once, open since."""
