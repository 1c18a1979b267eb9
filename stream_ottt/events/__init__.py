"""Events, packets of them, and how they become timesteps."""
