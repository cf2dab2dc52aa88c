"""What the graph of a loss tells: its terms, what they compare, and what they forget. Only read."""
