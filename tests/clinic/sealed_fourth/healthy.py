"""HEALTHY: recipes without arguments."""

from . import healthy_1, healthy_2

HEALTHY = [*healthy_1.HEALTHY, *healthy_2.HEALTHY]
