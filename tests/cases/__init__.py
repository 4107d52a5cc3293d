"""One row per loss, by family: what the contract needs to know about it."""
from . import (boxes, classification, composite, dense, kl_discret, metric,
               regression)

FAMILIES = [
    boxes, classification, composite, dense, kl_discret, metric, regression
]
CASES = sorted([case for family in FAMILIES for case in family.CASES],
               key=lambda case: case.loss.__name__)
