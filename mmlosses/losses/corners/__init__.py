"""Losses of corner detection: grouping, and all of CornerNet."""
