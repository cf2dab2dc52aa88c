"""HEALTHY: loops without arguments."""

from .healthy_more import HEALTHY

__all__ = ["HEALTHY"]
