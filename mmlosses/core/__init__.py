"""The machinery that all losses share; `base` is the place to begin."""
