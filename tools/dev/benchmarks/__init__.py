"""The benchmark of all losses: ``python tools/benchmark.py``."""
