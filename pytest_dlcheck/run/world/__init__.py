"""What is global around a trial: random numbers, device, machine, and putting it all back."""
