"""Heads for losses that no stock head of mmdet or mmpose has a slot for.

Each module imports mmdet or mmpose, so none is imported here: configs name a
head by its dotted path.
"""
