"""What is told of these loops: blind, 30 of 36 failed, 28 by name, 1 more by advice; no alarm on 50 sound ones."""

ADVISED = {"width_search"}
"""Told as advice, by name."""
UNFOUND = {
    "toy_grammar_letters",  # The same windows in every step; of such a text many stand in several places.
    "bearing_alarm",  # Each channel by itself, as models do that are made so.
    "scan_line_repair",  # Rows of pictures that are repaired each by itself.
}
"""Not told, or by another name."""
