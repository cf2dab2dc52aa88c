"""What happens within a call of a model: what enters and leaves, in which operations, by which way."""
