"""What the graph of a loss tells: what it compares, in which order, with which sign. No judgement."""
