"""Tensors, alone and nested, and the graph behind them. They know no model and no recipe."""
