"""Running a recipe: the only room that imports torch. It records; it does not know what is judged."""
