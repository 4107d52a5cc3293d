"""Losses of label maps: of regions, of their boundaries, of hard pixels."""
