"""Losses of other projects and the losses here that take their place."""
from __future__ import annotations
import re
from pathlib import Path
from typing import Dict, List, NamedTuple

CONFIGS = Path(__file__).resolve().parents[1] / '.mim/configs'


class Substitute(NamedTuple):
    """A loss of another project that has another name here."""
    project: str
    ours: str
    arguments: str = ''  # that make it the same


# As configs/guides/from_stock.md says.
SUBSTITUTES: Dict[str, Substitute] = {
    'BCELoss': Substitute('mmpose', 'CrossEntropyLoss', 'use_sigmoid=True'),
    'RLELoss': Substitute('mmpose', 'KeypointPROPELLoss'),
}


def substitute(name: str) -> str:
    """The sentence about a loss that has another name here, or ''."""
    found = SUBSTITUTES.get(name)
    if found is None:
        return ''
    project, ours, arguments = found
    return (f'the {name} of {project} is mmlosses.{ours} here' +
            (f', with {arguments}' if arguments else ''))


def faults(name: str, project: str) -> List[str]:
    """The faults of a loss in another project, in a few words each."""
    page = CONFIGS / 'differs_from_upstream.md'
    if not page.is_file():
        return []
    row = rf'^\| `{name}` \| {project} \| ([^|]+) \|'
    return re.findall(row, page.read_text(encoding='utf-8'), re.MULTILINE)
