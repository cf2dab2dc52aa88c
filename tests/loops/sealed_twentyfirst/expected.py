"""What is told of these loops: blind, 25 of 36 failed, 24 by name, 5 more by advice; no alarm on 50 sound ones.

The first 16 were measured before anything of their day was mended, the other 20 in the midst of it: what had
been made until then was made for three of the first (streams begun anew, a generator seeded in each draw, and
the words for what is replaced).
"""

ADVISED = {
    "one_epoch_function",  # Nothing is measured on the held-out data while they are trained on.
    "grid_q_learning",  # Both may be meant to move.
    "gap_filler",  # Several rows of a sample beside targets of as many numbers.
}
"""Told as advice, by name."""
UNFOUND = {
    "digit_views",  # Rows of an image, each by itself.
    "best_of_two",  # Two batches of a shuffled loader.
    "topic_lines",  # Labels in the order of their appearance; answers are few and uncertain.
}
"""Not told, or by another name."""
