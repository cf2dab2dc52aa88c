"""Reports: pure renderings of findings, one kind per file. They know verdicts, not checks."""
