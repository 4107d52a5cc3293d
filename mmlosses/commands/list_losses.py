"""List the losses: what each is for, where it goes, how it is called.

    python -m mmlosses list_losses [WORD ...] [--family NAME]
                                   [--short | --json]

A WORD keeps the losses that have it in their name, purpose, slots or paper, or
a word that begins with it. The name of a loss of mmpose that has another name
here finds that one:

    python -m mmlosses list_losses box --short
    python -m mmlosses list_losses rtmpose
    python -m mmlosses list_losses KeypointMSELoss
"""
from __future__ import annotations
import argparse
import functools
import inspect
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence, Type

from mmlosses.cli import did_you_mean, one_line_errors
from mmlosses.core.base import BaseLoss, call_parameters
from mmlosses.losses import FAMILIES
from mmlosses.registry import MODELS

MIM = Path(__file__).resolve().parents[1] / '.mim'
BENCHMARK = MIM / 'configs/benchmark/results.json'

# Compiling pays below this share of the time, which is not noise.
PAYS = 0.9


def family_of(loss: type) -> str:
    """The family of a loss: its module or folder in ``mmlosses.losses``."""
    family = loss.__module__.split('.')[2]
    if family not in FAMILIES:
        raise ValueError(f'{loss.__module__} belongs to no family, expected '
                         f'one of {", ".join(FAMILIES)}: see '
                         'mmlosses/losses/__init__.py')
    return family


def catalogue() -> Dict[Type[BaseLoss], List[str]]:
    """The losses with their aliases, in the order of families and names."""
    MODELS.import_from_location()
    found: Dict[Type[BaseLoss], List[str]] = {}
    for name, kind in MODELS.module_dict.items():
        if kind.__module__.startswith('mmlosses.'):
            found.setdefault(kind, []).append(name)
    order = list(FAMILIES)
    return {
        kind: [name for name in found[kind] if name != kind.__name__]
        for kind in sorted(
            found,
            key=lambda kind:
            (order.index(family_of(kind)), kind.__name__.lower()))
    }


@functools.lru_cache(maxsize=None)
def compiled_times() -> Dict[str, float]:
    """The time with ``compile=True`` by that without, of measured losses."""
    found = {}
    for name, row in json.loads(BENCHMARK.read_text()).items():
        ratio = row['calls']['mmlosses']['compiled_ratio']
        if ratio is not None:
            found[name] = round(ratio[1], 2)
    return found


def call_of(loss: Type[BaseLoss]) -> str:
    """The arguments of a call without their types."""
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in call_parameters(loss)
    ]
    return str(inspect.Signature(parameters))


def as_dict(loss: Type[BaseLoss], aliases: List[str]) -> Dict[str, Any]:
    """One loss, by the keys of ``--json``."""
    info, family = loss.info, family_of(loss)
    paper = info.paper and dict(info.paper._asdict(), url=info.paper.url)
    return {
        'name': loss.__name__,
        'aliases': aliases,
        'family': family,
        'for': plain(info.purpose),
        'slots': plain(info.slots),
        'call': call_of(loss),
        'compiled': compiled_times().get(loss.__name__),
        'paper': paper,
        'page': f'configs/{family}/README.md',
    }


def plain(text: str) -> str:
    """Remove the marks of reStructuredText."""
    return text.replace(':class:', '').replace('`', '')


def listed(row: Dict[str, Any]) -> str:
    """One loss as text."""
    also = ', also ' + ', '.join(row['aliases']) if row['aliases'] else ''
    paper = row['paper']
    cited = '-'
    if paper is not None:
        where = [f'{paper["venue"]} {paper["year"]}'.strip(), paper['url']]
        cited = f'{paper["title"]} ({", ".join(filter(None, where))})'
    lines = [f'mmlosses.{row["name"]}{also}']
    lines += [f'  {key:6}{row[key]}' for key in ('for', 'slots', 'call')]
    if row['compiled'] is not None:
        pays = 'pays' if row['compiled'] < PAYS else 'does not pay'
        lines.append(f'  compile=True {pays}: {row["compiled"]} of the time '
                     'on a CPU')
    return '\n'.join(lines + [
        f'  paper {cited}',
        f'  page  {MIM / row["page"]}',
    ])


def has_word(row: Dict[str, Any], word: str) -> bool:
    """Return True if a name contains a word, or a text has it as a prefix."""
    names = ' '.join([row['name'], *row['aliases']])
    text = json.dumps(row, ensure_ascii=False)
    begins = re.search(rf'(?<![a-z]){re.escape(word)}', text, re.I)
    return word.lower() in names.lower() or begins is not None


def choose(rows: List[Dict[str, Any]], words: List[str],
           family: str | None) -> List[Dict[str, Any]]:
    """The losses that have all words, of one family or of all.

    Raises:
        ValueError: If there is no such family, or nothing is left.
    """
    if family is not None and family not in FAMILIES:
        raise ValueError(
            f'{family} is none of the families {", ".join(FAMILIES)}' +
            did_you_mean(family, FAMILIES))
    found = [
        row for row in rows if family in (None, row['family']) and all(
            has_word(row, word) for word in words)
    ]
    if not found:
        names = {name for row in rows for name in (row['name'], row['family'])}
        of_family = f' of the family {family}' if family else ''
        raise ValueError(f'no loss{of_family} has {" and ".join(words)}' +
                         did_you_mean(words[0], names - set(words)))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Print the list."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').split('\n')[0])
    parser.add_argument('words', nargs='*', metavar='WORD')
    parser.add_argument('--family', help=', '.join(FAMILIES))
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        '--short', action='store_true', help='print one line a loss')
    form.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(argv)
    with one_line_errors():
        rows = choose([as_dict(*item) for item in catalogue().items()],
                      args.words, args.family)
    try:
        if args.json:
            print(json.dumps(rows, indent=2, ensure_ascii=False))
            return
        title = None
        for row in rows:
            if args.short:
                print(f'mmlosses.{row["name"]}: {row["for"]}')
                continue
            if row['family'] != title:
                title = row['family']
                print(f'\n== {FAMILIES[title]} ({title})')
            print(listed(row))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
