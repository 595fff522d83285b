"""One page: the workspace with its threads, and the merge request beside it."""
