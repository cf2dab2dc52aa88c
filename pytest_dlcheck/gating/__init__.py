"""What gates share: what was measured, its noise, and what is ruled of it. No torch, no check's own."""
