"""Keeps invoices and answers questions about them over HTTP."""
