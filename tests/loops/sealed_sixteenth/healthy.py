"""HEALTHY: loops that are right."""

from . import (
    healthy_1,
    healthy_2,
    healthy_3,
    healthy_4,
    healthy_5,
    healthy_6,
    healthy_7,
    healthy_8,
    healthy_9,
)

PARTS = (
    healthy_1,
    healthy_2,
    healthy_3,
    healthy_4,
    healthy_5,
    healthy_6,
    healthy_7,
    healthy_8,
    healthy_9,
)
HEALTHY = [loop for part in PARTS for loop in part.HEALTHY]
