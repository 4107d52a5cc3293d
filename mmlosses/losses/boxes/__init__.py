"""Box losses, by what they add to the overlap."""
