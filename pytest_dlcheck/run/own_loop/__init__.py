"""A recipe's own loop (``train=``): called, watched, ended in time, and told as a trial's trace."""
