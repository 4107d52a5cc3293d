"""Every hook of mmlosses: importing this package registers them all."""
from .curves import CurvesHook

__all__ = ['CurvesHook']
