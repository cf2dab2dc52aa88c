"""Where a watch ends: copies of the trained models are called on what these were. No judgement."""
