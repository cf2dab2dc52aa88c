"""A recipe's batch through forward and loss, and what is found by passing it otherwise."""
