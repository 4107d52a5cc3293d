"""Losses of heatmaps: squared errors, adaptive wing, and focal losses."""
