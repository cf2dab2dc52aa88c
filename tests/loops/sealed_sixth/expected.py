"""What is told of these loops: blind, 38 of 58 failed, 36 by name, 8 more by advice; 1 of 121 healthy, mended."""

ADVISED = {
    "self_distillation",
    "actor_critic_cartpole",
    "transformer_digit_rows",
    "lstm_forecast",
    "sensor_imputation",
    "pos_tagger",
    "load_forecast_tcn",
}
"""Told as advice, by name."""
UNFOUND = {
    "label_names_per_split",  # Each split numbers its names anew: told, in other words.
    "digits_denoiser_ema",  # The average follows an untrained copy: told, in other words.
    "vae_digits",  # The latent sample is drawn from mu.data and logvar.data.
    "colour_patch_autoencoder",  # view(-1, 64) takes each colour for a sample.
    "complete_lower_half",  # The layers work on each row of the images alone.
}
"""Not told, or by another name."""
