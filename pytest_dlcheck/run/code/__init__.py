"""What the user's Python says: variables of running functions, bytecode, source. Nothing is run."""
