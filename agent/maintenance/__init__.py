"""Maintenance at night: deterministic tools first, and a report of all they could not look at."""
