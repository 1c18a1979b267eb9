"""What a monitoring system is told of a run: its figures, whether it is well, whether it predicts."""
