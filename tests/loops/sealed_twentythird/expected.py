"""What is told of these loops: blind, 29 of 36 failed, 27 by name, 4 more by advice; one twin alarmed.

All were measured on one commit, before anything was made for any of them.
"""

ADVISED = {
    "segment_patches",  # Accumulation that is not divided may be meant, by the learning rate.
    "finetune_frozen",  # Statistics that follow new data under frozen weights may be meant.
    "denoise_digits",  # Rows of an image, each by itself.
    "names_best_epoch",  # Two batches of a shuffled loader: an estimate, if an uncertain one.
}
"""Told as advice, by name."""
UNFOUND = {
    "digits_vae",  # The reconstruction alone is propagated; the sum is only logged.
    "digits_ema",  # The average follows an untrained copy: told, in other words.
    "contrastive_colour",  # A view of images, cut by hand, that makes a row of each colour.
    "cancer_two_stage",  # Another split for the second of two optimizers of one model.
}
"""Not told, or by another name."""
