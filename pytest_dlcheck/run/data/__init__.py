"""The user's data: loaders, samplers, data sets, and a bounded look at their samples."""
