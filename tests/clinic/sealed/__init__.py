"""Recipes by somebody who had seen the README's list of checks and no code; measured once, open since."""
