"""What is told of these loops: blind, 27 of 36 failed, 26 by name, 7 more by advice; 1 alarm on 44 sound ones."""

ADVISED = {
    "cnn_microbatches",
    "homework_autoencoder",
    "hand_cut_batches",
}
"""Told as advice, by name."""
UNFOUND = {
    "dense_net_from_keras",  # Rows of an image that are averaged, as sets are.
    "diabetes_index_batches",  # Told as pairs that are lost, which they are as well.
}
"""Not told, or by another name."""
