"""What is told of these loops: blind, 17 of 32 failed, 16 by name, 8 more by advice; no alarm on the rest."""

ADVISED = {
    "numbers_to_words_seq2seq",
    "digits_triplet_embedding",
    "digits_simsiam",
    "cartpole_dqn",
}
"""Told as advice, by name."""
UNFOUND = {
    "moons_ddpm",  # The target is other noise than what was added.
    "grid_detector_box_loss",  # A mean over what a mask has left out.
}
"""Not told, or by another name."""
