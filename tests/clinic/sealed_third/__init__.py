"""Recipes by an author who had seen the README and the examples, and no check; measured once, open since."""
