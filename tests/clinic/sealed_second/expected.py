"""What is told of these recipes: blind, 29 of 45 failed, 26 by name, 3 more by advice; 1 alarm on 85 sound ones."""

ADVISED = {
    "still_pond",
    "book_club",
    "three_clerks",
    "crystal_ball",
}
"""Told as advice, by name."""
UNFOUND = {
    "town_council",  # Mean and std are swapped in the initialisation: every weight is the same constant, so all experts and units stay alike.
    "cloud_atlas",  # The reconstruction is averaged over pixels while the KL is summed: KL outweighs it and the posterior collapses.
    "bell_tower",  # The residual connections of 14 blocks are dropped: the signal is lost in the depth and training stalls.
    "grocery_bag",  # padding_idx=0 although 0 is a real (the most frequent) item and padding is the last id: item 0 has no vector, padding has one.
    "slow_train",  # A learning rate of 3e-6 instead of 3e-3.
    "lost_gloves",  # Only the left halves are permuted: the pairs do not belong together.
}
"""Not told, or by another name."""
