"""What is told of these loops: blind, 31 of 36 failed, all by name, 5 more by advice; no alarm on 50 sound ones.

All were measured on one commit, before anything was made for any of them.
"""

ADVISED = {
    "frozen_backbone",  # Statistics that follow new data under frozen weights may be meant.
    "simclr_digits",  # Two rows of each sample, never put together again, as patches are.
    "mlp_autoencoder",  # Rows of an image, each by itself.
    "session_recommender",  # Two batches of a shuffled loader: an estimate, if an uncertain one.
}
"""Told as advice, by name."""
UNFOUND: set[str] = set()
"""Not told, or by another name."""
