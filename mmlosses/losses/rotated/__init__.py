"""Losses of rotated boxes and of convex sets of points."""
