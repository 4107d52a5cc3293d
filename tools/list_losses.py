"""List the losses: what each is for, where it goes, how it is called.

    python -m mmlosses list_losses [WORD ...] [--family NAME] [--json]

A WORD keeps the losses that have it in their name, purpose, slots or paper, or
a word that begins with it:

    python -m mmlosses list_losses box
    python -m mmlosses list_losses rtmpose
"""
from __future__ import annotations
import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence

from catalogue import FAMILIES, Loss, catalogue

from mmlosses.cli import did_you_mean, one_line_errors

ROOT = Path(__file__).resolve().parent.parent


def as_dict(loss: Loss, slots: Dict[str, str]) -> Dict[str, Any]:
    """What is listed of a loss, by the names that JSON has too."""
    paper = loss.paper
    where = loss.slots
    as_another = re.match(r'The slots of :class:`(\w+)`', where)
    if as_another:
        where = slots[as_another[1]] + where[as_another.end():]
    return {
        'name': loss.name,
        'aliases': loss.aliases,
        'family': loss.family,
        'for': plain(loss.purpose),
        'slots': plain(where),
        'call': loss.call,
        'paper': paper and {
            'title': paper.title,
            'venue': paper.venue,
            'year': int(paper.year),
            'url': paper.url,
        },
        'page': f'configs/{loss.family}/README.md',
    }


def plain(text: str) -> str:
    """Without the marks of reStructuredText."""
    return text.replace(':class:', '').replace('`', '')


def listed(row: Dict[str, Any]) -> str:
    """One loss as text."""
    also = ', also ' + ', '.join(row['aliases']) if row['aliases'] else ''
    paper = row['paper']
    lines = [f'mmlosses.{row["name"]}{also}']
    if paper is not None:
        where = ' '.join(filter(None, (paper['venue'], str(paper['year']))))
        link = f', {paper["url"]}' if paper['url'] else ''
        cited = f'{paper["title"]} ({where}{link})'
    else:
        cited = '-'
    for key in ('for', 'slots', 'call'):
        lines.append(f'  {key:6}{row[key]}')
    lines += [f'  paper {cited}', f'  page  {ROOT / row["page"]}']
    return '\n'.join(lines)


def has_word(row: Dict[str, Any], word: str) -> bool:
    """Whether a name has a word in it, or a text one that begins so."""
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
        names = [name for row in rows for name in (row['name'], row['family'])]
        of_family = f' of the family {family}' if family else ''
        raise ValueError(f'no loss{of_family} has {" and ".join(words)}' +
                         did_you_mean(words[0],
                                      set(names) - set(words)))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Print the list."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').split('\n')[0])
    parser.add_argument('words', nargs='*', metavar='WORD')
    parser.add_argument('--family', help=', '.join(FAMILIES))
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(argv)
    with one_line_errors():
        losses = catalogue()
        slots = {loss.name: loss.slots for loss in losses}
        rows = choose([as_dict(loss, slots) for loss in losses], args.words,
                      args.family)
    if args.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    title = None
    for row in rows:
        if row['family'] != title:
            title = row['family']
            print(f'\n== {FAMILIES[title][0]} ({title})')
        print(listed(row))


if __name__ == '__main__':
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
