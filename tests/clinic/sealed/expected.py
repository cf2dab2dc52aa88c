"""What is told of these recipes: blind, 25 of 36 failed, 22 by name, 3 more by advice.

One of 29 healthy ones failed (inputs of few distinct values, shared by chance), none of the 36 twins.
"""

ADVISED = {
    "patch_vit",
    "surface_unet",
    "wine_cultivars",
}
"""Told as advice, by name."""
UNFOUND = {
    "char_bert",  # failed, as labels of one class
    "customer_spend",
    "digit_triplets",  # failed, as learning nothing from its inputs
    "marked_digit",
    "moons_flow",
    "review_encoder",
    "scene_locator",
}
"""Not told, or by another name."""
