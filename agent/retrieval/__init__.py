"""Finds the places of a repository that a request is about."""
