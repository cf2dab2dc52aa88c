"""What is told of these loops: blind, 29 of 36 failed, 26 by name, 6 more by advice; no alarm on 48 sound ones."""

ADVISED = {
    "docking_reinforce",
    "digit_vae_accumulated",
    "scan_denoiser",
    "window_autoencoder",
    "torque_hand_batches",
    "part_search_ranker",
}
"""Told as advice, by name."""
UNFOUND = {
    "waypoint_diffusion",  # The average follows a snapshot that was taken at the start.
}
"""Not told, or by another name."""
