"""The history of what gates measured: SQL tables, what is asked of them, git. No checks, no torch."""
