"""What is told of these loops: blind, 27 of 36 failed, all by name, 5 more by advice; no alarm on 112 sound ones."""

ADVISED = {
    "denoising_autoencoder_dims",
    "crowd_counting_accumulation",
    "frozen_backbone_second_head",
}
"""Told as advice, by name."""
UNFOUND = {
    "vae_hardcoded_input_dim",  # A view within the model that makes four codes of each image.
}
"""Not told, or by another name."""
