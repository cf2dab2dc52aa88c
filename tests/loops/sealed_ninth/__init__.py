"""Loops with the mistakes that forums, questions and issues report; measured once, open since."""
