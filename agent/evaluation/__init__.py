"""Tasks with a known answer, given to runs, and what came of them."""
