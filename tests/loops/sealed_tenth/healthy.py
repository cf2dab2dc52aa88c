"""HEALTHY: loops without arguments."""

from . import healthy_0, healthy_1, healthy_2, healthy_3, healthy_4, healthy_5

PARTS = (healthy_0, healthy_1, healthy_2, healthy_3, healthy_4, healthy_5)
HEALTHY = [loop for part in PARTS for loop in part.HEALTHY]
