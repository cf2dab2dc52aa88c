"""What is told of these loops: blind, 22 of 36 failed, 20 by name, 4 more by advice; 1 alarm on 46 sound ones."""

ADVISED = {
    "denoising_autoencoder",
    "two_tower_ranker",
    "digits_vae",
    "window_autoencoder",
}
"""Told as advice, by name."""
UNFOUND = {
    "partial_fit_lstm",  # An estimator that builds its network anew, whose parts are called, not itself.
}
"""Not told, or by another name."""
