"""Heads of mmdet and mmpose for losses that no stock head calls.

Configs name them by dotted path, such as
``type='mmlosses.heads.ccs.CCSBBoxHead'``. Each module imports mmdet or mmpose
only when a config asks for one of its heads.
"""
