"""One row per loss, by family: what the contract needs to know about it."""
from . import classification, kl_discret

FAMILIES = [classification, kl_discret]
CASES = sorted([case for family in FAMILIES for case in family.CASES],
               key=lambda case: case.loss.__name__)
