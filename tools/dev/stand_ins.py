"""Losses of projects that cannot be imported, by their names and arguments.

A wheel, unpacked into a folder, says all that a config needs to be checked:
the classes in models/losses and the parameters of their constructors.
"""
from __future__ import annotations
import ast
import inspect
import re
from pathlib import Path
from typing import Any, Iterator

from mmengine.registry import MODELS, Registry


def register_stand_ins(project: str, folder: Path) -> None:
    """Register the losses of a project without its code.

    Args:
        project (str): Such as ``'mmdet3d'``.
        folder (Path): Its package in an unpacked wheel.

    Raises:
        ValueError: If there is none.
    """
    found = list(losses_of(folder))
    if not found:
        raise ValueError(f'{folder} has no models/losses/*.py with losses: '
                         f'is it the package {project} of its wheel?')
    registry = Registry('model', parent=MODELS, scope=project)
    for node in found:
        module = f'{project}.models.losses'
        members = dict(__module__=module, __signature__=signature_of(node))
        registry.register_module(module=type(node.name, (), members))


def losses_of(folder: Path) -> Iterator[ast.ClassDef]:
    """The classes of models/losses that are registered."""
    for path in sorted((folder / 'models/losses').glob('*.py')):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any([
                    'register_module' in ast.dump(x)
                    for x in node.decorator_list
            ]):
                yield node


def signature_of(node: ast.ClassDef) -> inspect.Signature:
    """The parameters of a constructor, with the defaults that are plain."""
    init, = [
        x for x in node.body
        if isinstance(x, ast.FunctionDef) and x.name == '__init__'
    ]
    names = [x.arg for x in init.args.args[1:]]
    given = [default_of(x) for x in init.args.defaults]
    empty = inspect.Parameter.empty
    defaults = [empty] * (len(names) - len(given)) + given
    return inspect.Signature([
        inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
        for name, default in zip(names, defaults)
    ])


def default_of(node: ast.expr) -> Any:
    """The value of a default; None, which sets nothing, of an expression."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def version_of(folder: Path) -> str:
    """The version of a package in an unpacked wheel."""
    text = (folder / 'version.py').read_text()
    found = re.search(r"__version__ = '([^']+)'", text)
    if found is None:
        raise ValueError(f'{folder / "version.py"} has no __version__')
    return found[1]
