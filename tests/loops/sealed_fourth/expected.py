"""What is told of these loops: blind, 23 of 36 failed, 22 by name, 3 more by advice; no alarm on the rest."""

ADVISED = {
    "house_price_surface",
    "sequence_tagger",
}
"""Told as advice, by name."""
UNFOUND = {
    "card_fraud",  # classes of 97 to 3
    "corridor_policy_gradient",  # a policy's sign
    "digits_deep_mlp",  # gradients that vanish in seven sigmoids
    "photo_dot_colour",  # pixels viewed as channels first, before the model
    "rare_disease_screen",  # rows that were multiplied before the split
}
"""Not told, or by another name."""
