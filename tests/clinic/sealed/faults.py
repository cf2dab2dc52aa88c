"""FAULTS: (function with the keyword `mistake`, words that a right cause may use, what is wrong)."""

from . import cases_a, cases_b, cases_c

FAULTS = [*cases_a.FAULTS, *cases_b.FAULTS, *cases_c.FAULTS]
