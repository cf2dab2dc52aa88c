"""What is told of these loops: blind, 28 of 36 failed, 26 by name, 4 more by advice; no alarm on 46 sound ones."""

ADVISED = {
    "digits_linear_denoiser",
}
"""Told as advice, by name."""
UNFOUND = {
    "patch_conv_autoencoder",  # A view within the model that makes two codes of each image, as groups do.
}
"""Not told, or by another name."""
