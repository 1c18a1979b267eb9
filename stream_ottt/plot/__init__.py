"""Figures of runs and events, for a notebook."""
