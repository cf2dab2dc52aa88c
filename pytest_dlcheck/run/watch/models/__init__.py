"""Which modules are called, on what, in which mode, and what becomes of their results. No judgement."""
