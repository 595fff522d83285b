"""Tests for lines that were changed lately and that no test runs."""
