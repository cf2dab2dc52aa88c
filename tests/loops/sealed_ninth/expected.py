"""What is told of these loops: blind, 16 of 30 failed, all by name, 4 more by advice; no alarm on the rest."""

ADVISED = {
    "rows_lstm_batch_first",
    "accumulation_without_division",
    "simsiam_without_stop_gradient",
    "dqn_no_terminal_mask",
}
"""Told as advice, by name."""
UNFOUND = {
    "hwc_images_viewed_as_chw",  # A view of images that no loader gave, before the model.
}
"""Not told, or by another name."""
