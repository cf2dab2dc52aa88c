"""What is told of these loops: blind, 17 of 32 failed, 16 by name, 8 more by advice; no alarm on the rest."""

ADVISED = {
    "cancer_trainer_scaled_split",
    "digits_triplet_embedding",
    "digits_transfer_frozen_backbone",
    "digits_simsiam",
}
"""Told as advice, by name."""
UNFOUND = {
    "moons_ddpm",  # The target is other noise than what was added.
    "digits_denoiser_ema",  # The average follows an untrained copy: told, in other words.
    "cartpole_dqn",  # A value beyond the end of an episode.
    "numbers_to_words_seq2seq",  # Padding counted in the loss.
    "citation_gcn",  # A loss that covers the validation nodes too.
    "blob_unet_augmented",  # Images flipped without their masks.
    "grid_detector_box_loss",  # A mean over what a mask has left out.
}
"""Not told, or by another name."""
