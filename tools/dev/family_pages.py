"""Write what the docstrings say into the pages of the families.

    python tools/family_pages.py [--check]

Each page configs/<family>/README.md has its picture and, under the text that
is written by hand, every loss with its formula, arguments, shapes, differences
and citation. README.md has them all in one table, and model-index.yml with its
metafiles lists the configs for mim. --check writes nothing; its exit status is
1 where a file is older than its docstrings.
"""
from __future__ import annotations
import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Iterator, List, Match, Sequence, Tuple

from catalogue import FAMILIES, Loss, Paper, catalogue, named_in
from metafiles import metafiles
from pages import write_block, write_whole

import mmlosses.losses
import mmlosses.losses.box_geometry

ROOT = Path(__file__).resolve().parent.parent
CARDS_IN_A_ROW = 4


def to_markdown(text: str) -> str:
    """Turn the reStructuredText of docstrings into GitHub's Markdown."""
    text = text.replace('``', '`')
    text = re.sub(
        r'^\.\. math::\n((?:    .*\n?|\n)+)',
        lambda found: '```math\n' + re.sub(
            '^    ', '', found[1].strip('\n'), flags=re.M) + '\n```\n\n',
        text + '\n',
        flags=re.M)
    # With backticks, or GitHub takes the backslashes of a formula away.
    text = re.sub(r':math:`([^`]+)`', r'$`\1`$', text)
    text = re.sub(r':\w+:`~?([^`]+)`', link_to_code, text)
    return re.sub(r'`([^`<]+?)\s+<([^>`]+)>`_', r'[\1](\2)', text).strip()


def link_to_code(role: Match[str]) -> str:
    """The name of a class or function, with the file that it is in."""
    name = role[1]
    for module in (mmlosses.losses, mmlosses.losses.box_geometry):
        value = getattr(module, name.partition('.')[0], None)
        path = getattr(value, '__module__', '').replace('.', '/')
        if path.startswith('mmlosses/'):
            return f'[`{name}`](../../{path}.py)'
    return f'`{name}`'


def picture(folder: str, name: str, alt: str, width: int) -> str:
    """A picture for light and for dark pages."""
    return (f'<picture><source media="(prefers-color-scheme: dark)" '
            f'srcset="{folder}{name}_dark.png"><img src="{folder}{name}.png" '
            f'alt="{alt}" width="{width}"></picture>')


def arguments(text: str) -> str:
    """The section Args as a list."""
    return re.sub(
        r'^(\*{0,2}\w+) \((.+?)\): ',
        r'- `\1` (*\2*): ',
        text,
        flags=re.M | re.S)


def bibtex(paper: Paper) -> str:
    """The entry of a paper."""
    names = paper.authors.split(', ')
    word = next(
        word for word in re.findall(r'\w+', paper.title.lower())
        if word not in ('a', 'the'))
    key = f'{names[0].split()[-1].lower()}{paper.year}{word}'
    fields = {'title': '{' + paper.title + '}', 'author': ' and '.join(names)}
    kind = 'article'
    journal = paper.venue in ('Neurocomputing',
                              'IEEE Transactions on Cybernetics')
    if journal or not paper.venue:
        fields['journal'] = paper.venue or f'arXiv:{paper.arxiv}'
    else:
        kind = 'inproceedings'
        fields['booktitle'] = paper.venue
    fields['year'] = paper.year
    if paper.arxiv and paper.venue:
        fields['note'] = f'arXiv:{paper.arxiv}'
    lines = [f'  {name} = {{{value}}}' for name, value in fields.items()]
    return f'@{kind}{{{key},\n' + ',\n'.join(lines) + '\n}'


def used_in(loss: Loss) -> List[Path]:
    """The configs that have a loss, by its name or its class."""
    return sorted(
        path for path in (ROOT / 'configs').glob('*/*.py')
        if loss.name in named_in(path))


def describe(loss: Loss) -> str:
    """The part of a page that is about one loss."""
    also = ''.join(f', also `{name}`' for name in loss.aliases)
    parts = [
        f'### {loss.name}', f'`mmlosses.{loss.name}`{also}: '
        f'{to_markdown(loss.summary)}'
    ]
    if loss.text:
        parts.append(to_markdown(loss.text))
    parts.append(f'It is called as `loss{loss.call}`.')
    for title, name in (('Args', 'Arguments'), ('Shape', 'Shapes'),
                        ('Differs from upstream', ) * 2):
        text = loss.sections[title]
        if title == 'Args':
            text = arguments(text)
        parts += [f'**{name}**', to_markdown(text)]
    links = ', '.join([
        f'[{path.parent.name}/{path.stem}](../{path.parent.name}/{path.name})'
        for path in used_in(loss)
    ])
    parts.append(f'**Configs**: {links}')
    parts.append('**Source.** ' + to_markdown(loss.sections['Source']))
    if loss.paper is not None:
        parts.append(f'```bibtex\n{bibtex(loss.paper)}\n```')
    return '\n\n'.join(parts)


def table(losses: List[Loss]) -> str:
    """The cards of the families, and the catalogue under them."""
    cards = [
        f'[{picture(f"configs/{family}/", "card", title, 190)}<br>{title}]'
        f'(configs/{family}/README.md)'
        for family, (title, _) in FAMILIES.items()
    ]
    cards += [''] * (-len(cards) % CARDS_IN_A_ROW)
    rows = [
        cards[i:i + CARDS_IN_A_ROW]
        for i in range(0, len(cards), CARDS_IN_A_ROW)
    ]
    rows.insert(1, [':---:'] * CARDS_IN_A_ROW)
    text = [row_of(row) for row in rows]
    text += [
        '',
        row_of(['family', 'loss', 'for', 'slots', 'paper']),
        row_of(['---'] * 5)
    ]
    family = None
    for loss in losses:
        link = ''
        if loss.family != family:
            family = loss.family
            link = f'[{FAMILIES[family][0]}](configs/{family}/README.md)'
        names = f'`{loss.name}`' + ''.join(f', `{name}`'
                                           for name in loss.aliases)
        text.append(
            row_of([
                link, names,
                unlinked(loss.purpose),
                unlinked(loss.slots),
                cite(loss.paper)
            ]))
    return '\n'.join(text)


def unlinked(text: str) -> str:
    """The same for another folder, where no link would lead to the code."""
    return re.sub(r':class:`(\w+)`', r'`\1`', text).replace('``', '`')


def row_of(cells: List[str]) -> str:
    """A row of a table."""
    return '|' + ''.join([f' {cell} |' if cell else ' |' for cell in cells])


def cite(paper: Paper | None) -> str:
    """A paper in a cell."""
    if paper is None:
        return ''
    name = paper.title.partition(':')[0]
    if len(name) > 30:
        name = paper.authors.partition(',')[0].split()[-1] + ' et al.'
    where = ' '.join(filter(None, (paper.venue, paper.year)))
    return f'[{name}]({paper.url}), {where}' if paper.url else (
        f'{name}, {where}')


def blocks(losses: List[Loss]) -> Iterator[Tuple[str, str, str]]:
    """The page, name and text of all that is written."""
    for family, (title, _) in FAMILIES.items():
        page = f'configs/{family}/README.md'
        yield page, 'picture', picture('', 'curves', f'{title}: curves', 850)
        yield page, 'losses', '\n\n'.join(
            describe(loss) for loss in losses if loss.family == family)
    yield 'README.md', 'catalogue', table(losses)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the pages, or say which are old."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--check', action='store_true')
    args = parser.parse_args(argv)
    losses = catalogue()
    texts = metafiles(losses, ROOT)
    with tempfile.TemporaryDirectory() as folder:
        # Whole pages or none: a draft of each is made first.
        for page, name, text in blocks(losses):
            draft = Path(folder) / page
            if page not in texts:
                draft.parent.mkdir(parents=True, exist_ok=True)
                draft.write_text((ROOT / page).read_text())
            write_block(draft, name, text)
            texts[page] = draft.read_text()
    old = [
        page for page, text in texts.items()
        if not (ROOT / page).is_file() or text != (ROOT / page).read_text()
    ]
    for page in old:
        if not args.check:
            write_whole(ROOT / page, texts[page])
        print(page)
    if args.check and old:
        sys.exit(1)


if __name__ == '__main__':
    main()
