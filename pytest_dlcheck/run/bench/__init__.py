"""Takes the time and the memory of steps and passes, with nothing in the way. It judges nothing."""
