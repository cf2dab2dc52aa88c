"""Loops by a fourth author, mistakes as common as they are in studies; measured once, open since."""
