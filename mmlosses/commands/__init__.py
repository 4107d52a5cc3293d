"""The commands of ``python -m mmlosses``."""
