"""The way of the data, as tasks joined by bounded queues."""
