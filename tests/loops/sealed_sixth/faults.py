"""FAULTS: (function with the keyword `mistake`, words that a right cause may use, what is wrong)."""

from .first import faults_data, faults_grads, faults_modes, faults_schedules
from .second import faults_adversarial, faults_model, faults_sequence, faults_shapes
from .second import faults_data as more_of_data

PARTS = (
    *(faults_grads, faults_modes, faults_data, faults_schedules),
    *(faults_adversarial, faults_shapes, more_of_data, faults_model, faults_sequence),
)
FAULTS = [fault for part in PARTS for fault in part.FAULTS]
