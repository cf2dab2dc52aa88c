"""What is told of these loops: blind, 24 of 32 failed, 23 by name, 5 more by advice; 1 alarm on 84 sound ones."""

ADVISED = {
    "unet_accumulate",
    "image_autoencoder_linear",
    "key_value_lookup",
}
"""Told as advice, by name."""
UNFOUND = {
    "colour_autoencoder",  # A view that makes a row of each colour, before the model.
}
"""Not told, or by another name."""
