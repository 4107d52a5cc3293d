"""What is known of the losses of other projects."""
from __future__ import annotations
import re
from pathlib import Path
from typing import List

CONFIGS = Path(__file__).resolve().parents[1] / '.mim/configs'


def faults(name: str, project: str) -> List[str]:
    """The faults of a loss in another project, in a few words each."""
    page = CONFIGS / 'differs_from_upstream.md'
    if not page.is_file():
        return []
    row = rf'^\| `{name}` \| {project} \| ([^|]+) \|'
    return re.findall(row, page.read_text(encoding='utf-8'), re.MULTILINE)
