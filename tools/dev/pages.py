"""Generated blocks in pages."""
from __future__ import annotations
from pathlib import Path

from mmlosses.cli import write_whole

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'


def read_block(page: Path, name: str) -> str:
    """The text of a named block of a page, or ''."""
    text = page.read_text() if page.exists() else ''
    rest = text.partition(f'<!-- {name} -->\n')[2]
    return rest.partition(f'\n<!-- end of {name} -->')[0]


def write_block(page: Path, name: str, text: str) -> None:
    """Replace a named block of a page, or append it."""
    begin, end = f'<!-- {name} -->', f'<!-- end of {name} -->'
    before = page.read_text() if page.exists() else ''
    after = '\n'
    if begin in before:
        before, _, rest = before.partition(begin)
        after = rest.partition(end)[2]
    write_whole(page, f'{before}{begin}\n{text}\n{end}{after}')
