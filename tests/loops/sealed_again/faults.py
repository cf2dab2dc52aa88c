"""FAULTS: (function with the keyword `mistake`, words that a right cause may use, what is wrong)."""

from .faults_a import FAULTS_A
from .faults_b import FAULTS_B
from .faults_c import FAULTS_C

FAULTS = [*FAULTS_A, *FAULTS_B, *FAULTS_C]
