"""What is told of these loops: blind, 31 of 48 failed, 30 by name, 8 more by advice; no alarm on the rest."""

ADVISED = {
    "digits_vae",
    "autoencoder_digits",
    "inverted_digits",
    "iris_mlp",
    "mixer_digits",
}
"""Told as advice, by name."""
UNFOUND = {
    "silu_student",  # an average of another model, which no loader's batch is given to
}
"""Not told, or by another name."""
