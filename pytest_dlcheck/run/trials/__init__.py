"""The trials that train: the short loop, and how a recipe is made ready for each."""
