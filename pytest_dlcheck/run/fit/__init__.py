"""The ``fit`` trial: after a training, the metrics on all of the validation data."""
