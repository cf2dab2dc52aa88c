"""What is told of these loops: blind, 16 of 30 failed, all by name, 4 more by advice; no alarm on 42 sound ones."""

ADVISED = {"dqn_gridworld", "number_to_words", "simclr_digits"}
"""Told as advice, by name."""
UNFOUND = {
    "token_budget_classifier",  # A mean of accuracies of unequal batches.
    "lstm_demand_forecast",  # Statistics of the whole series, before it is split.
    "siamese_digits",  # The last batch's loss, taken for the epoch's.
}
"""Not told, or by another name."""
