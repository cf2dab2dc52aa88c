"""What samples and targets say of themselves, and have to do with each other. No model is called."""
