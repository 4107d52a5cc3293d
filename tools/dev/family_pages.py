"""Generate the pages of the families from the metadata and docstrings.

    python tools/dev/family_pages.py [--check]

Each page configs/<family>/README.md has its picture and, under hand-written
text, every loss with its formula, arguments, shapes, differences and citation.
configs/losses.md lists all losses, README.md shows the families, and
model-index.yml with its metafiles lists the configs for mim. --check writes
nothing; its exit status is 1 where a file is outdated.
"""
from __future__ import annotations
import argparse
import inspect
import re
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Match, Sequence, Tuple, Type

from metafiles import metafiles, named_in
from pages import write_block, write_whole

import mmlosses.losses
from mmlosses.commands.list_losses import call_of, catalogue, family_of
from mmlosses.losses import FAMILIES, BaseLoss, Paper

ROOT = Path(__file__).resolve().parents[2]
CARDS_IN_A_ROW = 4

# The values of required arguments in examples.
REQUIRED = {
    'num_classes': 380,
    'in_channels': 128,
    'losses': [dict(type='mmlosses.L1Loss'),
               dict(type='mmlosses.GIoULoss')],
    'joint_parents': [0, 0, 1, 2, 0, 4, 5],
    'loss_type': 'kld',
    # Of FeaLoss.
    'name': 'loss_fea',
    'use_this': True,
    'student_channels': 768,
    'teacher_channels': 1024,
    # Of self-supervised losses.
    'criterion': 'L2',
    'lambd': 2,
    'feat_dim': 128,
}
# Losses that take them by name.
NAMED = {
    'losses':
    dict(
        keypoint_loss=dict(type='mmlosses.KeypointMSELoss'),
        tag_loss=dict(type='mmlosses.AssociativeEmbeddingLoss'))
}

Losses = Dict[Type[BaseLoss], List[str]]


def sections_of(cls: type) -> Tuple[str, Dict[str, str]]:
    """The text of a docstring before its sections, and the sections."""
    parts = re.split(
        r'^([A-Z][a-z ]+):\n(?=    )', inspect.getdoc(cls) or '', flags=re.M)
    sections = {
        title: inspect.cleandoc('\n' + body)
        for title, body in zip(parts[1::2], parts[2::2])
    }
    return parts[0], sections


def inherited(loss: Type[BaseLoss], title: str) -> str:
    """A section of the nearest class that has it."""
    for cls in loss.__mro__:
        if issubclass(cls, BaseLoss) and title in sections_of(cls)[1]:
            return sections_of(cls)[1][title]
    return ''


def documented(cls: type) -> Dict[str, str]:
    """The entries of the section Args, by name."""
    entries = re.split(r'\n(?=\w+ \()', sections_of(cls)[1].get('Args', ''))
    return {entry.partition(' ')[0]: entry for entry in entries if entry}


def arguments(loss: Type[BaseLoss]) -> str:
    """The arguments of a constructor: own, of the family, and common ones."""
    found: Dict[str, str] = {}
    for cls in loss.__mro__[:loss.__mro__.index(BaseLoss)]:
        found = {**documented(cls), **found}
    names = inspect.signature(loss).parameters
    text = '\n'.join([found[name] for name in names if name in found])
    lines = [to_markdown(as_list(text))] if text else []
    common = ', '.join([
        f'`{name}={parameter.default!r}`' for name, parameter in names.items()
        if name not in found
    ])
    lines.append(f'- {common}: see the [common arguments]'
                 '(../losses.md#common-arguments).')
    return '\n'.join(lines)


def as_list(args: str) -> str:
    """The entries of a section Args as a list."""
    return re.sub(
        r'^(\w+) \((.+?)\): ', r'- `\1` (*\2*): ', args, flags=re.M | re.S)


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
    """The name of a class or function, with its file."""
    name = role[1]
    value = getattr(mmlosses.losses, name.partition('.')[0], None)
    path = getattr(value, '__module__', '').replace('.', '/')
    if path.startswith('mmlosses/'):
        return f'[`{name}`](../../{path}.py)'
    return f'`{name.rpartition(".")[2] if "mmlosses" in name else name}`'


def picture(folder: str, name: str, alt: str, width: int) -> str:
    """A picture for light and for dark pages."""
    return (f'<picture><source media="(prefers-color-scheme: dark)" '
            f'srcset="{folder}{name}_dark.png"><img src="{folder}{name}.png" '
            f'alt="{alt}" width="{width}"></picture>')


def bibtex(paper: Paper) -> str:
    """The entry of a paper."""
    names = paper.authors.split(', ')
    word = next(
        word for word in re.findall(r'\w+', paper.title.lower())
        if word not in ('a', 'the'))
    key = f'{names[0].split()[-1].lower()}{paper.year}{word}'
    fields = {'title': '{' + paper.title + '}', 'author': ' and '.join(names)}
    kind = 'article'
    journal = paper.venue in ('Neurocomputing', 'IJCV',
                              'IEEE Transactions on Cybernetics')
    if journal or not paper.venue:
        fields['journal'] = paper.venue or f'arXiv:{paper.arxiv}'
    else:
        kind = 'inproceedings'
        fields['booktitle'] = paper.venue
    fields['year'] = str(paper.year)
    if paper.arxiv and paper.venue:
        fields['note'] = f'arXiv:{paper.arxiv}'
    lines = [f'  {name} = {{{value}}}' for name, value in fields.items()]
    return f'@{kind}{{{key},\n' + ',\n'.join(lines) + '\n}'


def used_in(loss: Type[BaseLoss]) -> List[Path]:
    """The configs with a loss, by its name or its class."""
    return sorted(
        path for path in (ROOT / 'configs').glob('*/*.py')
        if loss.__name__ in named_in(path))


def shown_for(loss: Type[BaseLoss]) -> List[str]:
    """The projects without configs here whose heads a page gives the loss."""
    page = ROOT / 'configs' / family_of(loss) / 'README.md'
    snippets = re.findall(r"^_base_ = '(\w+)::(.*?)^```", page.read_text(),
                          re.MULTILINE | re.DOTALL)
    return sorted({
        project
        for project, snippet in snippets
        if f"'mmlosses.{loss.__name__}'" in snippet and not (ROOT / 'configs' /
                                                             project).is_dir()
    })


def config_of(loss: Type[BaseLoss]) -> str:
    """A config with the arguments that the docstring of a loss names."""
    text = ''
    for name, parameter in inspect.signature(loss).parameters.items():
        default = parameter.default
        if default in (None, parameter.empty):
            by_name = loss.__name__ == 'CombinedLoss'
            default = (NAMED if by_name else REQUIRED).get(name)
        if default is not None and (name in REQUIRED
                                    or name in documented(loss)):
            text += f', {name}={default!r}'
    return f"dict(type='mmlosses.{loss.__name__}'{text})"


def describe(loss: Type[BaseLoss], aliases: List[str]) -> str:
    """The part of a page that is about one loss."""
    name, info = loss.__name__, loss.info
    text, sections = sections_of(loss)
    summary, _, text = text.partition('\n\n')
    also = ''.join(f', also `{alias}`' for alias in aliases)
    parts = [
        f'### {name}',
        f'`mmlosses.{name}`{also}: {to_markdown(" ".join(summary.split()))}',
        f'```python\nloss = {config_of(loss)}\n```',
        f'**Slots**: {to_markdown(info.slots)}.'
    ]
    if text:
        parts.append(to_markdown(text.strip()))
    parts += [
        f'It is called as `loss{call_of(loss)}`.', '**Arguments**',
        arguments(loss), '**Shapes**',
        to_markdown(inherited(loss, 'Shape'))
    ]
    if 'Differs from upstream' in sections:
        parts += [
            '**Differs from upstream**',
            to_markdown(sections['Differs from upstream'])
        ]
    links = ', '.join([
        f'[{path.parent.name}/{path.stem}](../{path.parent.name}/{path.name})'
        for path in used_in(loss)
    ] + [f'[{name}](#in-a-config)' for name in shown_for(loss)])
    if links:
        parts.append(f'**Configs**: {links}')
    if info.source:
        parts.append('**Source.** ' + to_markdown(info.source))
    if info.paper is not None:
        parts.append(f'```bibtex\n{bibtex(info.paper)}\n```')
    return '\n\n'.join(parts)


def cards() -> str:
    """The families as a grid of pictures."""
    cells = [
        f'[{picture(f"configs/{family}/", "card", title, 190)}<br>{title}]'
        f'(configs/{family}/README.md)' for family, title in FAMILIES.items()
    ]
    cells += [''] * (-len(cells) % CARDS_IN_A_ROW)
    rows = [
        cells[i:i + CARDS_IN_A_ROW]
        for i in range(0, len(cells), CARDS_IN_A_ROW)
    ]
    rows.insert(1, [':---:'] * CARDS_IN_A_ROW)
    return '\n'.join([row_of(row) for row in rows])


def table(losses: Losses) -> str:
    """All losses, a row for each."""
    text = [
        row_of(['family', 'loss', 'for', 'slots', 'paper']),
        row_of(['---'] * 5)
    ]
    before = None
    for loss, aliases in losses.items():
        link, family = '', family_of(loss)
        if family != before:
            before = family
            link = f'[{FAMILIES[family]}]({family}/README.md)'
        names = ', '.join([f'`{x}`' for x in (loss.__name__, *aliases)])
        info = loss.info
        text.append(
            row_of([
                link, names,
                unlinked(info.purpose),
                unlinked(info.slots),
                cite(info.paper)
            ]))
    return '\n'.join(text)


def names_of(losses: Losses) -> str:
    """The arguments that losses of other projects have under one name."""
    text = ['| loss | argument | here |', '| --- | --- | --- |']
    for loss in losses:
        own = vars(loss)  # not those of a base, which has a row
        here = {
            name: f'`{ours}`'
            for name, ours in own.get('synonyms', {}).items()
        }
        here.update(own.get('published', {}))
        for other in loss.namesakes:
            theirs = inspect.signature(other).parameters
            known = inspect.signature(loss).parameters
            for name in theirs.keys() - known.keys():
                here[name] = f'the loss is a `{other.__name__}`'
        meanings: Dict[str, List[str]] = {}
        for name, meaning in here.items():
            meanings.setdefault(unlinked(meaning), []).append(f'`{name}`')
        for meaning, names in sorted(meanings.items()):
            text.append(
                row_of(
                    [f'`{loss.__name__}`', ', '.join(sorted(names)), meaning]))
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
    where = f'{paper.venue} {paper.year}'.strip()
    return f'[{name}]({paper.url}), {where}' if paper.url else (
        f'{name}, {where}')


def blocks(losses: Losses) -> Iterator[Tuple[str, str, str]]:
    """The page, name and text of each generated block."""
    for family, title in FAMILIES.items():
        page = f'configs/{family}/README.md'
        yield page, 'picture', picture('', 'curves', f'{title}: curves', 850)
        yield page, 'losses', '\n\n'.join(
            describe(loss, aliases) for loss, aliases in losses.items()
            if family_of(loss) == family)
    yield 'README.md', 'families', cards()
    yield 'configs/guides/from_stock.md', 'names', names_of(losses)
    yield 'configs/losses.md', 'catalogue', table(losses)
    yield 'configs/losses.md', 'common arguments', to_markdown(
        as_list(sections_of(BaseLoss)[1]['Args']))


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
