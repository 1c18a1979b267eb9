"""Runs from within a notebook."""
