"""How well the places that a commit changed are found from its message."""

import os

# Threads of linear algebra wait for each other where other jobs run, and times tell nothing.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
