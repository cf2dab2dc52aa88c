"""HEALTHY: loops without arguments."""

from . import healthy_a, healthy_b, healthy_c, healthy_d, healthy_e, healthy_f

PARTS = (healthy_a, healthy_b, healthy_c, healthy_d, healthy_e, healthy_f)
HEALTHY = [loop for part in PARTS for loop in part.LOOPS]
