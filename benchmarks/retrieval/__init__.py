"""How well the places that a commit changed are found from its message."""
