"""How a network computes fast."""
