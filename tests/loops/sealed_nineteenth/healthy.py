"""HEALTHY: loops that are right."""

from . import healthy_1

PARTS = (healthy_1,)
HEALTHY = [loop for part in PARTS for loop in part.HEALTHY]
