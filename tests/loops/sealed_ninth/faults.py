"""FAULTS: (function with the keyword `mistake`, words that a right cause may use, what is wrong)."""

from . import faults_forum, faults_generative_rl, faults_research

PARTS = (faults_forum, faults_generative_rl, faults_research)
FAULTS = [fault for part in PARTS for fault in part.FAULTS]
