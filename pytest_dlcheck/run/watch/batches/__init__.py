"""What is read and remembered of the batches that a loop trains on and evaluates. No judgement."""
