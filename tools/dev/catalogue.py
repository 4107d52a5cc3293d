"""What mmlosses has, as its docstrings and signatures tell it."""
from __future__ import annotations
import inspect
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

from mmlosses.registry import MODELS

# The folder of a family in configs/, its title, and its modules where they
# are not one of the folder's name. The order is that of the pages.
FAMILIES = {
    'boxes': ('Boxes', ['boxes', 'wise_iou']),
    'cross_entropy': ('Cross entropy', ['cross_entropy']),
    'focal': ('Focal loss', ['focal']),
    'balanced_bce': ('Balanced binary cross entropy', ['balanced_bce']),
    'dice': ('Dice', ['dice']),
    'regression': ('Numbers', ['regression']),
    'angular': ('Angles', ['angular']),
    'gaussian_focal': ('Heatmaps', ['gaussian_focal']),
    'kl_discret': ('Coordinates as bins', ['kl_discret']),
    'propel': ('Distributions', ['propel']),
    'corners': ('Corners', ['associative_embedding', 'cornernet']),
    'margin': ('Angular margins', ['margin']),
    'center': ('Centres', ['center']),
    'ccs': ('Cosines to class vectors', ['ccs']),
    'sum': ('Several losses', ['sum']),
}
FAMILY_OF = {
    module: family
    for family, (_, modules) in FAMILIES.items()
    for module in modules
}


class Paper(NamedTuple):
    """Where a loss was published."""
    authors: str
    title: str
    venue: str
    year: str
    arxiv: str

    @property
    def url(self) -> str:
        """Its page at arXiv, or nothing."""
        return self.arxiv and f'https://arxiv.org/abs/{self.arxiv}'


class Loss(NamedTuple):
    """What is known of one loss."""
    name: str
    aliases: List[str]
    family: str
    call: str
    summary: str
    text: str
    sections: Dict[str, str]
    purpose: str
    slots: str
    paper: Paper | None


def catalogue() -> List[Loss]:
    """All losses, those of a family together.

    Returns:
        list[Loss]: In the order of the families, then of the names.
    """
    MODELS.import_from_location()
    names: Dict[type, List[str]] = {}
    for name, kind in MODELS.module_dict.items():
        names.setdefault(kind, []).append(name)
    losses = [
        read_loss(kind, [name for name in known if name != kind.__name__])
        for kind, known in names.items()
        if kind.__module__.startswith('mmlosses.')
    ]
    order = list(FAMILIES)
    return sorted(
        losses, key=lambda loss: (order.index(loss.family), loss.name.lower()))


def read_loss(kind: Any, aliases: List[str]) -> Loss:
    """Read one class.

    Raises:
        ValueError: If its docstring lacks what the catalogue tells.
    """
    module = kind.__module__.rpartition('.')[2]
    if module not in FAMILY_OF:
        raise ValueError(f'{module}.py belongs to no family, expected one of '
                         f'{", ".join(FAMILIES)}: see tools/catalogue.py')
    text, sections = split_sections(inspect.getdoc(kind) or '')
    summary, _, text = text.partition('\n\n')
    use = dict(
        re.findall(r'^- (For|Slots): (.*?)\.?$',
                   one_line_items(sections.get('Use', '')), re.MULTILINE))
    if set(use) != {'For', 'Slots'} or 'Source' not in sections:
        raise ValueError(f'the docstring of {kind.__name__} needs the section '
                         "'Use', with '- For: ' and '- Slots: ', and "
                         "'Source'")
    return Loss(
        name=kind.__name__,
        aliases=aliases,
        family=FAMILY_OF[module],
        call=call_of(kind),
        summary=' '.join(summary.split()),
        text=text.strip(),
        sections=sections,
        purpose=use['For'],
        slots=use['Slots'],
        paper=read_paper(sections['Source']))


@lru_cache(maxsize=None)
def named_in(config: Path) -> List[str]:
    """What may be losses in a config: scoped names, and classes."""
    return re.findall(r'(?:mmlosses\.|type=)(\w+)', config.read_text())


def split_sections(docstring: str) -> Any:
    """The text before the first section, and the sections by their titles."""
    parts = re.split(r'^([A-Z][a-z ]+):\n(?=    )', docstring, flags=re.M)
    sections = {
        title: inspect.cleandoc('\n' + body)
        for title, body in zip(parts[1::2], parts[2::2])
    }
    return parts[0], sections


def one_line_items(text: str) -> str:
    """Join the lines of each item of a list."""
    return re.sub(r'\n +', ' ', text)


def call_of(kind: Any) -> str:
    """How a head calls it: the arguments without their types."""
    arguments = []
    star = False
    for parameter in inspect.signature(kind.forward).parameters.values():
        if parameter.name == 'self':
            continue
        text = parameter.name
        if parameter.kind == parameter.KEYWORD_ONLY and not star:
            arguments.append('*')
            star = True
        if parameter.kind == parameter.VAR_KEYWORD:
            text = f'**{text}'
        elif parameter.kind == parameter.VAR_POSITIONAL:
            text = f'*{text}'
        elif parameter.default is not parameter.empty:
            text += f'={parameter.default!r}'
        arguments.append(text)
    return f'({", ".join(arguments)})'


def read_paper(source: str) -> Paper | None:
    """The first paper of a source; None where a source names none.

    Authors. Title. Venue Year, `arXiv:number <address>`_.
    """
    text = ' '.join(source.split())
    # An initial ends with a point too.
    found = re.match(
        r'(?P<authors>.+?\w\w)\. (?P<title>.+?)\. (?P<venue>[^.`]*?),? ?'
        r'(?P<year>\d{4})(?:, `arXiv:(?P<arxiv>[\d.]+))?', text)
    if found is None:
        return None
    return Paper(*[value or '' for value in found.groups()])
