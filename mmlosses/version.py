"""The version of mmlosses, readable without importing anything heavy."""
__version__ = '0.1.0'
