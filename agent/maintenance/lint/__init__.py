"""Findings of the project's own linters, and what these can mend by themselves."""
