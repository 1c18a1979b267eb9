"""Sockets: the feed of events, labels and predictions, and commands to a run."""
