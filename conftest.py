"""Which modules pytest collects."""
try:
    import mmcv.ops  # noqa: F401
    import mmdet  # noqa: F401
    import mmpose  # noqa: F401
except (ImportError, AssertionError):
    # The adapters import mmdet or mmpose, which assert the version of mmcv.
    # Without them the doctests of the adapters cannot even be collected.
    collect_ignore_glob = ['mmlosses/heads/*']
