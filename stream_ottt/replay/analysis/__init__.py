"""What is measured of a run beside its accuracy: activity, gradients, memory."""
