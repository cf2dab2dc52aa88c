"""Training loops as people write them: healthy ones, and ones with a fault, watched unchanged."""
