"""Several sources as one: their events in one order of time, on one sensor plane."""
