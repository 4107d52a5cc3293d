"""Heads of mmdet and mmpose for losses that no stock head calls.

A config names them by their dotted path, such as
``type='mmlosses.heads.ccs.CCSBBoxHead'``. Each module imports mmdet or mmpose
only when a config asks for one of its heads.
"""
