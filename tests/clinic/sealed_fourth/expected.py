"""What is told of these recipes: blind, 16 of 30 failed, 14 by name, 3 more by advice; no alarm on 42 sound ones.

The words of two are wider than their author's: `lengths` that nothing reads are the padding that counts,
and a layer that stands several times shares its weights with itself.
"""

ADVISED = {"unet_shapes", "deep_set_spread", "wine_mlp", "residual_mlp"}
"""Told as advice, by name."""
UNFOUND = {
    "box_detector",  # Sides and centres of boxes, taken for corners.
    "pairwise_ranker",  # Better and worse documents exchanged.
    "cox_survival",  # Censored and observed exchanged.
    "load_profiles",  # Outputs that are clamped in training: told as answers that do not follow the inputs.
    "vit_warmup",  # A warm-up that does not end in a hundred steps.
}
"""Not told, or by another name."""
