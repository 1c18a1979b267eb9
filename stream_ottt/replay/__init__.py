"""Replay: data sets as labelled streams, methods to compare on them, protocols, and the tables they produce."""
