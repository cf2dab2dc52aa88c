"""FAULTS: (function with the keyword `mistake`, words that a right cause may use, what is wrong)."""

from . import faults_1, faults_2, faults_3, faults_4, faults_5

PARTS = (faults_1, faults_2, faults_3, faults_4, faults_5)
FAULTS = [fault for part in PARTS for fault in part.FAULTS]
