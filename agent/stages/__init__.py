"""The stages of a run, in order. Each leaves the run in the status from which the next begins."""
