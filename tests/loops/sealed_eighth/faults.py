"""FAULTS: (function with the keyword `mistake`, words that a right cause may use, what is wrong)."""

from . import (
    faults_generative,
    faults_rl,
    faults_sequence,
    faults_tabular,
    faults_training,
    faults_vision,
)

PARTS = (faults_generative, faults_rl, faults_sequence, faults_tabular, faults_training, faults_vision)
FAULTS = [fault for part in PARTS for fault in part.FAULTS]
