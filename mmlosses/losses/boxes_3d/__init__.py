"""Losses of boxes in 3D, of sets of points and of the models for them."""
