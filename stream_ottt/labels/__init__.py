"""Labels in event time, and how predictions are scored."""
