"""Functions that run a list of runs."""
