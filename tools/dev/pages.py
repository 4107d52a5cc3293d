"""Files that a tool writes: pages with numbers in them, and pictures."""
from __future__ import annotations
from pathlib import Path


def write_block(page: Path, name: str, text: str) -> None:
    """Replace the block of a name, or add it to the end of the page."""
    begin, end = f'<!-- {name} -->', f'<!-- end of {name} -->'
    before = page.read_text() if page.exists() else ''
    after = '\n'
    if begin in before:
        before, _, rest = before.partition(begin)
        after = rest.partition(end)[2]
    write_whole(page, f'{before}{begin}\n{text}\n{end}{after}')


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole, or leave the one that is there as it is."""
    part = path.with_name(f'{path.name}.part')
    try:
        if isinstance(content, bytes):
            part.write_bytes(content)
        else:
            part.write_text(content)
        part.replace(path)
    except OSError:
        if part.exists():
            part.unlink()
        raise
