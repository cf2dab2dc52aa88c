"""What is told of these loops: blind, 31 of 55 failed, 28 by name, 4 more by advice; no alarm on the rest."""

ADVISED = {
    "vineyard_two_heads",
    "river_level",
    "borrowed_eyes",
    "cloud_shapes",
    "maze_mouse",
    "temple_photo",
    "twin_forecast",
    "single_scans",
    "far_station",
    "lamp_bandit",
}
"""Told as advice, by name."""
UNFOUND = {
    "parcel_lanes",  # backward is called only on the last micro-batch's loss; three of four are thrown away.
    "cell_masks",  # The same batch is drawn in every step (fixed seed).
    "half_pages",  # view(-1, 32) splits each 64-pixel page in two; the batch doubles and the net sees half pages.
    "camera_stack",  # The block with the batch last is reshaped without permuting, which mixes pixels of different pictures.
}
"""Not told, or by another name."""
