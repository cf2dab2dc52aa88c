"""Recipes with mistakes drawn at random from a list of 149; measured once, open since."""
