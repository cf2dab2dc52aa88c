"""What is told of these loops: blind, 28 of 36 failed, 26 by name, 6 more by advice; no alarm on 46 sound ones."""

ADVISED = {
    "pendulum_dynamics",
    "clipped_forecast",
    "meter_digit_denoiser",
    "small_memory_training",
    "leftover_micro_batches",
}
"""Told as advice, by name."""
UNFOUND = {
    "sensor_anomalies",  # Each channel by itself, as models do that are made so.
    "ema_of_the_old_model",  # Told as a validated copy that stands still, which it is as well.
}
"""Not told, or by another name."""
