"""Brings a project's packages up to date at night, by its own package managers."""
