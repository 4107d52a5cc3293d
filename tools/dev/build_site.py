"""Build the documentation site and check it.

    pip install -e '.[mmengine,docs]'
    python tools/dev/build_site.py [--out FOLDER]

A warning of Sphinx, a dead link, a missing picture or a public name without
documentation is an error.
"""
from __future__ import annotations
import argparse
import importlib
import inspect
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set, Tuple
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'tools/dev/docs'
# The pages of the reference beside those of the losses, with their modules.
MODULES = {
    'hooks': ['mmlosses.hooks'],
    'heads': [
        'mmlosses.heads.ccs', 'mmlosses.heads.corner', 'mmlosses.heads.cosine',
        'mmlosses.heads.direction', 'mmlosses.heads.rle'
    ],
    'registry': ['mmlosses.registry', 'mmlosses.distributed.wrapper'],
    'testing': [
        'mmlosses.testing', 'mmlosses.testing.values',
        'mmlosses.testing.robustness'
    ],
}


class Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: List[str] = []
        self.anchors: Set[str] = {'', 'top'}
        self.feed(text)

    def handle_starttag(self, tag: str,
                        attrs: List[Tuple[str, str | None]]) -> None:
        """Collect the links and anchors of a tag."""
        for name, value in attrs:
            if value is None:
                continue
            if name in ('href', 'src', 'srcset'):
                self.addresses.append(value)
            elif name == 'id' or (tag, name) == ('a', 'name'):
                self.anchors.add(value)


def dead_links(site: Path) -> Iterator[str]:
    """The dead links within the site."""
    pages: Dict[Path, Page] = {
        path: Page(path.read_text())
        for path in site.rglob('*.html')
    }
    for path, page in pages.items():
        for address in page.addresses:
            link = urlsplit(address)
            if link.scheme or link.netloc:
                continue
            target = path
            if link.path:
                target = (path.parent / unquote(link.path)).resolve()
            known = pages.get(target)
            anchor = unquote(link.fragment)
            if not target.is_file() or (known is not None
                                        and anchor not in known.anchors):
                yield f'{path.relative_to(site)}: {address} leads nowhere'


def undocumented(site: Path) -> Iterator[str]:
    """The public names without docstring or page of the reference."""
    from sphinx.util.inventory import InventoryFile
    with (site / 'objects.inv').open('rb') as file:
        inventory = InventoryFile.load(file, '', lambda base, path: path)
    documented = {
        name
        for kind, names in inventory.items() if kind.startswith('py:')
        for name in names
    }
    for name, value in public_names():
        if name not in documented:
            yield f'{name} is not in the reference'
        elif callable(value) and not inspect.getdoc(value):
            yield f'{name} has no docstring'


def public_names() -> Iterator[Tuple[str, Any]]:
    """The public names, with the methods of the classes."""
    for module_name in ['mmlosses.losses', *sum(MODULES.values(), [])]:
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if (error.name or '').startswith('mmlosses'):
                raise
            continue  # mmdet's or mmpose's heads without mmdet or mmpose
        own = [
            name for name, value in vars(module).items() if name[0] != '_'
            and getattr(value, '__module__', '') == module_name and (
                inspect.isclass(value) or inspect.isfunction(value))
        ]
        for name in getattr(module, '__all__', own):
            value = getattr(module, name)
            if inspect.ismodule(value) or isinstance(value, dict):
                continue  # the docstring of the module describes them
            yield f'{module_name}.{name}', value
            # A second name refers to the first.
            if inspect.isclass(value) and value.__name__ == name:
                for method, function in vars(value).items():
                    if method[0] != '_' and inspect.isfunction(function):
                        yield f'{module_name}.{name}.{method}', function


def copy_pictures(site: Path) -> None:
    """Copy the pictures that pages show in HTML tags, which Sphinx ignores."""
    for path in (ROOT / 'configs').rglob('*.png'):
        target = site / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def main() -> None:
    """Build the site."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--out', type=Path, default=ROOT / 'build/site')
    args = parser.parse_args()
    site = args.out.resolve()
    done = subprocess.run([
        sys.executable, '-m', 'sphinx', '-q', '-E', '-W', '--keep-going', '-c',
        str(CONFIG), '-d', f'{site}.doctrees',
        str(ROOT),
        str(site)
    ])
    if done.returncode != 0:
        sys.exit('error: Sphinx stopped, or had something to warn of')
    copy_pictures(site)
    faults = [*dead_links(site), *undocumented(site)]
    if faults:
        sys.exit('error: ' + '\nerror: '.join(faults))
    print(f'The site is in {site}: python -m http.server -d {site}')


if __name__ == '__main__':
    main()
