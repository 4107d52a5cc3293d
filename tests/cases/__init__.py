"""One row per loss, by family: what the contract needs to know about it."""
from . import kl_discret, metric

FAMILIES = [kl_discret, metric]
CASES = sorted([case for family in FAMILIES for case in family.CASES],
               key=lambda case: case.loss.__name__)
