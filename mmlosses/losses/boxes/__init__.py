"""Box losses, grouped by what they add to the overlap."""
