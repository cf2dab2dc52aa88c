"""What is told of these loops: blind, 16 of 28 failed, 15 by name, 5 more by advice; no alarm on 38 sound ones."""

ADVISED = {
    "gru_tagger_padded",
    "simsiam_pretraining",
    "keep_prob_convnet",
    "attention_bags",
    "onset_transformer",
    "frozen_backbone_second_domain",
}
"""Told as advice, by name."""
UNFOUND = {
    "sklearn_style_cancer",  # A test set that is not scaled, cut by hand.
    "maml_sines",  # A loss at the parameters before they were adapted.
}
"""Not told, or by another name."""
