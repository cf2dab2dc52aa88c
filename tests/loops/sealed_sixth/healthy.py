"""HEALTHY: loops without arguments."""

from .sound import (
    healthy_generative,
    healthy_meta,
    healthy_metric,
    healthy_rl,
    healthy_science,
    healthy_selfsup,
    healthy_sequence,
    healthy_supervised,
)

PARTS = (
    *(healthy_generative, healthy_selfsup, healthy_supervised, healthy_rl),
    *(healthy_meta, healthy_metric, healthy_science, healthy_sequence),
)
HEALTHY = [loop for part in PARTS for loop in part.HEALTHY]
