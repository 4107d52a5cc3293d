"""Run the losses of others beside ours and write what differs into a page.

    python tools/upstream_faults.py [--out PAGE]

The entries are in ``tools/upstream``. It needs mmdet, mmpose, mmpretrain,
torchvision, torchpropel and pytorch-metric-learning.
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
from torch import Tensor
from upstream import FAULTS, FORMULAS, SHARED, Fault

from mmlosses.cli import one_line_errors

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'configs/differs_from_upstream.md'

# The files of the entries, in the order of the page.
FAMILIES = ('boxes', 'regression', 'mixtures', 'heatmaps', 'simcc',
            'classification', 'metric')
DISTRIBUTIONS = {'pytorch_metric_learning': 'pytorch-metric-learning'}

HEAD = """\
# Differs from upstream

Where other implementations go wrong, shown by running them beside mmlosses:
`python tools/upstream_faults.py` makes this page. What is only a formula, in a
repository that cannot be installed or in tutorials, is written anew from it.
`tests/test_upstream.py` fails where ours is not right, and where the other is
no longer wrong.
"""

SNIPPETS = """\
## The snippets

Each one leaves `stock`, `ours` and `right`, which comes from neither: it is a
formula written out, float64 or plain arithmetic. They stand on the imports of
their family and on these functions:
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
    """What an entry leaves, the same on every call."""
    DefaultScope._instance_dict.clear()
    torch.manual_seed(0)
    return fault.run()


def show(value: Any) -> str:
    """A value with four digits, in few characters."""
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
    """Whether a value equals the right one, up to rounding in float32."""
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
    """All numbers of a value, one after the other."""
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


def public_version(package: str) -> str:
    """A version without a local part such as +cpu, which changes no code."""
    return version(package).partition('+')[0]


def first_sentence(documented: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return ' '.join((inspect.getdoc(documented)
                     or '').split('\n\n')[0].split())


def snippet(fault: Fault) -> str:
    """The body of an entry, without its docstring and its last line."""
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

{inspect.getdoc(fault.run)}

```py
{snippet(fault)}
```

| stock | ours | right |
| --- | --- | --- |
| {' | '.join(values)} |

- Right: {fault.reason}.
- Stock: {where(fault)}
- Held by {held}.
"""


def imports_and_helpers(family: str) -> str:
    """What the snippets of a family stand on: imports and small functions."""
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
    """How many entries each package has, and at which version."""
    faults = load()
    counts = Counter([
        package_of(fault) for fault in faults if fault.upstream not in FORMULAS
    ])
    parts = [
        f'{package} {public_version(package)} ({count})'
        for package, count in counts.most_common()
    ]
    formulas = len(faults) - sum(counts.values())
    return (f'{len(faults)} faults: {", ".join(parts)}, '
            f'formulas ({formulas}).\n')


def page() -> str:
    """The whole page."""
    rows = ['| loss | package | fault | stock | ours | |', '|' + ' --- |' * 6]
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
