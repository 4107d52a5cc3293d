"""The documentation site: `python tools/dev/build_site.py` builds it.

The pages are those that are read on a code host too: README.md and what is in
configs. Only the reference of the code is made here.
"""
import importlib.util
import re
import sys
from pathlib import Path
from typing import Dict, List

sys.path[:0] = [str(Path(__file__).resolve().parents[k]) for k in (3, 1)]

from build_site import MODULES  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402
from sphinx.config import Config  # noqa: E402

import mmlosses  # noqa: E402
from mmlosses.losses import FAMILIES  # noqa: E402

project = 'mmlosses'
author = copyright = 'mmlosses contributors'
version = release = mmlosses.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx-mathjax-offline',  # formulas without a third party's server
    'sphinx_copybutton',
]
root_doc = 'tools/dev/docs/index'
include_patterns = [
    'README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'configs/**.md',
    'tools/dev/docs/**'
]
html_theme = 'furo'
html_title = f'mmlosses {release}'
html_additional_pages = {'index': 'redirect.html'}
templates_path = ['.']
html_copy_source = False
copybutton_prompt_text = r'>>> |\.\.\. '
copybutton_prompt_is_regexp = True

myst_enable_extensions = ['dollarmath']
myst_fence_as_directive = ['math']
myst_heading_anchors = 4

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # the docstrings have them
napoleon_custom_sections = ['Shape', 'Differs from upstream']
# The heads of these projects are documented without them, too.
autodoc_mock_imports = [
    name for name in ('mmcv', 'mmdet', 'mmpose')
    if importlib.util.find_spec(name) is None
]


def write_reference(app: Sphinx, config: Config) -> None:
    """Write a page of the reference for each family, and one for the rest."""
    folder = Path(__file__).parent / 'api'
    folder.mkdir(exist_ok=True)
    names_of: Dict[str, List[str]] = {}
    for name in mmlosses.losses.__all__:
        module = getattr(mmlosses.losses, name).__module__.split('.')
        family = module[2] if module[1] == 'losses' else 'base'
        names_of.setdefault(family, []).append(name)
    for family, title in dict(FAMILIES, base='Base classes').items():
        names = names_of[family]
        text = [
            title, '=' * len(title), '', '.. currentmodule:: '
            'mmlosses.losses', ''
        ]
        for name in sorted(names, key=lambda name: (name.islower(), name)):
            value = getattr(mmlosses.losses, name)
            kind = 'class' if isinstance(value, type) else 'function'
            text += [f'.. auto{kind}:: {name}', '']
            if kind == 'class':
                text[-1:] = ['   :members:', '   :show-inheritance:', '']
        (folder / f'losses_{family}.rst').write_text('\n'.join(text))
    for page, names in MODULES.items():
        text = [page.capitalize(), '=' * len(page), '']
        for name in names:
            text += [
                f'.. automodule:: {name}', '   :members:',
                '   :show-inheritance:', ''
            ]
        (folder / f'{page}.rst').write_text('\n'.join(text))


def from_github(app: Sphinx, name: str, source: List[str]) -> None:
    """Turn what a code host knows in another way into MyST's Markdown."""
    text = source[0].replace('$`', '$').replace('`$', '$')
    source[0] = re.sub(
        r'^(#+ )<a id="(\w+)"></a>', r'(\2)=\n\1', text, flags=re.M)


def setup(app: Sphinx) -> None:
    app.connect('config-inited', write_reference)
    app.connect('source-read', from_github)
