"""What is told of these loops: blind, 27 of 36 failed, all by name, 6 more by advice; 1 alarm on 48 sound ones."""

ADVISED = {
    "vae_in_dim_last_axis",
    "denoising_ae_img_dim",
}
"""Told as advice, by name."""
UNFOUND: set[str] = set()
"""Not told, or by another name."""
