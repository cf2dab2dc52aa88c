"""FAULTS: (function with the keyword `mistake`, words that a right cause may use, what is wrong)."""

from . import faults_a, faults_b, faults_c, faults_d

FAULTS = [*faults_a.FAULTS, *faults_b.FAULTS, *faults_c.FAULTS, *faults_d.FAULTS]
