"""HEALTHY: loops without arguments."""

from .healthy_1 import HEALTHY

__all__ = ["HEALTHY"]
