"""What is told of these recipes: blind, 25 of 36 failed, 22 by name, 3 more by advice.

One of 29 healthy ones failed (inputs of few distinct values, shared by chance), none of the 36 twins.
"""

ADVISED = {
    "patch_vit",
    "wine_cultivars",
}
"""Told as advice, by name."""
UNFOUND = {
    "char_bert",
    "customer_spend",
    "denoising_autoencoder",
    "digit_triplets",
    "digits_vae",
    "marked_digit",
    "moons_flow",
    "review_encoder",
    "scene_locator",
    "surface_unet",
    "texture_classifier",
}
"""Not told, or by another name."""
