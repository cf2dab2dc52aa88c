"""The checks: one property of a healthy training per file, found by walking this folder."""
