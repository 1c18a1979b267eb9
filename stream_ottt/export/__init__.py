"""A trained network for other tools."""
