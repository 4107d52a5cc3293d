"""Run other implementations beside ours and write their bugs to a page.

    python tools/dev/upstream_faults.py [--out PAGE]

The entries are in ``tools/dev/upstream``. It needs mmdet, mmpose, mmseg,
mmpretrain, torchvision, torchpropel and pytorch-metric-learning.
"""
from __future__ import annotations
import argparse
import ast
import functools
import importlib
import inspect
import math
import re
import textwrap
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, List, Tuple

import torch
from mmengine.registry import DefaultScope
from pages import CONFIGS
from torch import Tensor
from upstream import FAULTS, FORMULAS, SHARED, Fault

from mmlosses.cli import one_line_errors

PAGE = CONFIGS / 'differs_from_upstream.md'

# The files of the entries, in the order of the page.
FAMILIES = ('boxes', 'rotated', 'regression', 'mixtures', 'poses', 'heatmaps',
            'simcc', 'classification', 'segmentation', 'self_supervised',
            'quality_focal', 'gradient_harmonizing', 'long_tail', 'metric',
            'embedding', 'distillation')
DISTRIBUTIONS = {'pytorch_metric_learning': 'pytorch-metric-learning'}

HEAD = """\
# Differs from upstream

Which bugs do other implementations have? Each is shown by running it beside
mmlosses: `python tools/dev/upstream_faults.py` writes this page. Formulas of
tutorials and of repositories that cannot be installed are reimplemented.
`tests/test_upstream.py` fails if ours is wrong or if upstream has fixed a bug.
"""

SNIPPETS = """\
## The snippets

Each snippet sets `stock`, `ours` and `right`, where `right` is independent of
both: a formula, float64 or plain arithmetic. It needs the imports of its
section and these functions:
"""

IMPORTS = """\
from typing import Any, Callable, Dict, Tuple

import torch
from torch import Tensor


"""


def load() -> List[Fault]:
    """All entries, in the order of the page."""
    for family in FAMILIES:
        importlib.import_module(f'upstream.{family}')
    return sorted(FAULTS.values(), key=lambda x: FAMILIES.index(x.family))


@functools.lru_cache(maxsize=None)
def run(fault: Fault) -> Tuple[Any, Any, Any]:
    """The three values of an entry, the same in each call."""
    DefaultScope._instance_dict.clear()
    torch.manual_seed(0)
    return fault.run()


def show(value: Any) -> str:
    """Format a value with four digits."""
    if isinstance(value, torch.Size):
        value = tuple(value)
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, tuple):  # a shape
        return f'shape {value}'
    if isinstance(value, list):
        parts = [show(x) for x in value]
        return parts[0] if len(set(parts)) == 1 else ', '.join(parts)
    if isinstance(value, (int, float)):
        if math.isnan(value):
            return 'NaN'
        # Rounding errors differ between machines.
        return '0' if abs(value) < 1e-6 else f'{value:.4g}'
    return str(value)


def is_right(value: Any, right: Any) -> bool:
    """Compare a value with the right one, up to rounding in float32."""
    if isinstance(right, tuple):  # a shape
        return value == right
    if isinstance(right, str):
        values = value if isinstance(value, list) else [value]
        return all([x == right for x in values])
    if isinstance(value, str):
        return False
    got, expected = numbers(value), numbers(right)
    if len(expected) == 1:
        expected = expected * len(got)
    return len(got) == len(expected) and all([
        math.isclose(x, y, rel_tol=1e-4, abs_tol=1e-6)
        for x, y in zip(got, expected)
    ])


def numbers(value: Any) -> List[float]:
    """All numbers of a value in one list."""
    if isinstance(value, list):
        return [x for part in value for x in numbers(part)]
    return torch.as_tensor(value).double().flatten().tolist()


def package_of(fault: Fault) -> str:
    """The package of the stock loss, or where its formula is from."""
    if fault.upstream in FORMULAS:
        return FORMULAS[fault.upstream]
    package = fault.upstream.__module__.partition('.')[0]
    return DISTRIBUTIONS.get(package, package)


def where(fault: Fault) -> str:
    """Package, version, name and file of the stock loss."""
    module, name = fault.upstream.__module__, fault.upstream.__name__
    package = package_of(fault)
    if fault.upstream in FORMULAS:
        return f'`{name}`, see above. {first_sentence(fault.upstream)}'
    file = module.replace('.', '/') + '.py'
    return f'{package} {public_version(package)}, `{name}` in `{file}`.'


# Distributions with another name than their package.
DISTRIBUTIONS = dict(mmseg='mmsegmentation')


def public_version(package: str) -> str:
    """A version without a local part such as +cpu."""
    return version(DISTRIBUTIONS.get(package, package)).partition('+')[0]


def first_sentence(documented: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return ' '.join((inspect.getdoc(documented)
                     or '').split('\n\n')[0].split())


def snippet(fault: Fault) -> str:
    """The body of an entry without docstring and return."""
    source = textwrap.dedent(inspect.getsource(fault.run))
    lines = source.splitlines()
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    begin, end = function.body[0].end_lineno, function.body[-1].lineno
    code = textwrap.dedent('\n'.join(lines[begin:end - 1])).strip('\n')
    if fault.upstream in FORMULAS:
        _, _, formula = inspect.getsource(fault.upstream).partition('\n')
        code = f'{formula}\n\n{code}'
    return code


def entry(fault: Fault, values: List[str]) -> str:
    """One entry of the page."""
    tests = [f'test_upstream.py::test_fault[{fault.name}]', *fault.tests]
    held = ', '.join([f'`{test}`' for test in tests])
    return f"""\
### <a id="{fault.name}"></a>`{fault.loss}`: {fault.fault}

{(inspect.getdoc(fault.run) or '').rstrip()}

```py
{snippet(fault)}
```

| stock | ours | right |
| --- | --- | --- |
| {' | '.join(values)} |

- Right: {fault.reason}.
- Stock: {where(fault)}
- Tested by {held}.
"""


def imports_and_helpers(family: str) -> str:
    """The imports and helper functions of a family."""
    module = importlib.import_module(f'upstream.{family}')
    source = inspect.getsource(module)
    imports, functions = [], []
    for node in ast.parse(source).body:
        code = ast.get_source_segment(source, node) or ''
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if not re.match('from (__future__|upstream|typing)', code):
                imports.append(code)
        elif isinstance(node, ast.FunctionDef) and not node.decorator_list:
            functions.append(code)
    return '\n\n\n'.join(['\n'.join(imports), *functions])


def summary() -> str:
    """The number of bugs in each package, with its version."""
    faults = load()
    counts = Counter([
        package_of(fault) for fault in faults if fault.upstream not in FORMULAS
    ])
    parts = [
        f'{package} {public_version(package)} ({count})'
        for package, count in counts.most_common()
    ]
    formulas = len(faults) - sum(counts.values())
    return (f'{len(faults)} bugs: {", ".join(parts)}, '
            f'formulas ({formulas}).\n')


def page() -> str:
    """The whole page."""
    rows = ['| loss | package | bug | stock | ours | |', '|' + ' --- |' * 6]
    parts = []
    families: Dict[str, List[Fault]] = {}
    for fault in load():
        families.setdefault(fault.family, []).append(fault)
    for family, faults in families.items():
        module = importlib.import_module(f'upstream.{family}')
        title = first_sentence(module).rstrip('.')
        rows.append(f'| **{title}** | | | | | |')
        parts += [
            f'## {title}\n', f'```py\n{imports_and_helpers(family)}\n```\n'
        ]
        for fault in faults:
            values = [show(value) for value in run(fault)]
            rows.append(f'| `{fault.loss}` | {package_of(fault)} '
                        f'| {fault.fault} | {values[0]} | {values[1]} '
                        f'| [shown](#{fault.name}) |')
            parts.append(entry(fault, values))
    shared = IMPORTS + '\n\n'.join([inspect.getsource(x) for x in SHARED])
    table = '\n'.join(rows) + '\n'
    return '\n'.join(
        [HEAD,
         summary(), table, SNIPPETS, f'```py\n{shared}```\n', *parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=PAGE)
    out = parser.parse_args().out
    out.write_text(page())
    print(out)


if __name__ == '__main__':
    with one_line_errors(ImportError, AssertionError):
        main()
