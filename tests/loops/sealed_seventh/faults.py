"""FAULTS: (function with the keyword `mistake`, words that a right cause may use, what is wrong)."""

from . import faults_basics, faults_data, faults_models, faults_modes, faults_pairs

PARTS = (faults_basics, faults_modes, faults_data, faults_models, faults_pairs)
FAULTS = [fault for part in PARTS for fault in part.FAULTS]
