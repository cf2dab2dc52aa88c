"""What a loss is: which of torch's functions, of which outputs and targets. Nothing is trained."""
