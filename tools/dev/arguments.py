"""Command line arguments that several tools share."""
from __future__ import annotations
import argparse
from pathlib import Path
from typing import Iterable, Sequence


def coco_folder(text: str) -> Path:
    """Check the folder of a command line."""
    path = Path(text)
    if not (path / 'test_coco.json').is_file():
        raise argparse.ArgumentTypeError(
            f'there is no {path / "test_coco.json"}')
    return path


def parse_names(parser: argparse.ArgumentParser,
                name: str,
                known: Iterable[str],
                argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line whose argument ``name`` lists known names."""
    args = parser.parse_args(argv)
    unknown = sorted(set(getattr(args, name)) - set(known))
    if unknown:
        parser.error(f'unknown {name} {", ".join(unknown)}: it is one of '
                     f'{"; ".join(known)}')
    return args
