"""Shared by the commands: one-line errors, and files written whole."""
from __future__ import annotations
import argparse
import difflib
import os.path as osp
import pickle
import re
import sys
import traceback
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Type

import yaml  # type: ignore[import-untyped]

# The exceptions that a mistake in a config or command line raises.
MISTAKES = (AssertionError, AttributeError, EOFError, ImportError, KeyError,
            OSError, SyntaxError, TypeError, ValueError,
            pickle.UnpicklingError, yaml.YAMLError)


def key_value(text: str) -> str:
    """Check the form of a setting, which mmengine's action does not."""
    if '=' not in text:
        raise argparse.ArgumentTypeError(f'{text} is not KEY=VALUE')
    return text


def add_cfg_options(parser: argparse.ArgumentParser,
                    example: str = '') -> None:
    """Declare ``--cfg-options``, as the tools of mmengine's projects have."""
    from mmengine.config import DictAction
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=key_value,
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config' +
        (f', e.g. {example}' if example else ''))


def read_config(path: str) -> Any:
    """Read a config; a syntax error names file and line."""
    from mmengine.config import Config
    try:
        return Config.fromfile(path)
    except SyntaxError as error:
        raise ValueError(
            f'{path}, line {error.lineno}: {error.msg}') from error
    except (ImportError, OSError, TypeError, ValueError, yaml.YAMLError):
        raise
    except Exception as error:  # a config is a program
        raise ValueError(f'{path}: {type(error).__name__}: {error}') from error


def find_config(path: str) -> str:
    """The file of a config: a path, or that of a stock config.

    Args:
        path (str): A path, or ``'PROJECT::NAME'``, such as
            ``'mmdet::retinanet/retinanet_r50_fpn_1x_coco'``.

    Raises:
        ValueError: If the project is not installed or has no such config.
    """
    project, stock, name = path.partition('::')
    if not stock:
        return path
    folder = config_folder(project)
    found = folder / (name if name.endswith('.py') else f'{name}.py')
    if not found.is_file():
        names = [
            str(x.relative_to(folder).with_suffix(''))
            for x in folder.glob('**/*.py')
        ]
        raise ValueError(f'{project} has no config {name}' +
                         did_you_mean(name, names))
    return str(found)


def config_folder(project: str) -> Path:
    """The folder of the stock configs of an installed project.

    Raises:
        ValueError: If it is not installed.
    """
    spec = find_spec(project)
    if spec is None or spec.origin is None:
        raise ValueError(f'there is no package {project} here')
    return Path(spec.origin).parent / '.mim/configs'


def stock_config(path: str) -> str:
    """The ``'PROJECT::NAME'`` of a config of an installed project, or ''."""
    folder, stock, name = Path(path).resolve().as_posix().partition(
        '/.mim/configs/')
    return f'{Path(folder).name}::{name}' if stock else ''


@contextmanager
def one_line_errors(*kinds: Type[BaseException]) -> Iterator[None]:
    """Turn a user's mistake into one line and exit status 1.

    Args:
        *kinds (type): The exceptions to report so. Default: all that a config
            or command line can raise.
    """
    try:
        yield
    except kinds or MISTAKES as error:
        sys.exit(f'error: {explain(error)}')


def explain(error: BaseException) -> str:
    """Describe an error in one line, with a suggestion."""
    # str(KeyError) adds quotes.
    text = str(
        error.args[0] if isinstance(error, KeyError) and error.args else error)
    unknown = re.match(r'(\S+) is not in the (?:\S+?::)?(.+?) registry', text)
    if unknown:
        name, kind = unknown.groups()
        return (f'{name} is not a registered {kind}' +
                did_you_mean(name,
                             registered(kind) + module_exports(name)))
    if isinstance(error, OSError) and error.filename is not None:
        return f'{error.strerror}: {error.filename}'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if text.startswith('Caught '):  # the traceback of a data loader worker
        text = text.strip().splitlines()[-1]
    text = ' '.join(text.split()) or type(error).__name__
    path = file_of(error)
    return f'{path}: {text}' if path else text


def file_of(error: BaseException) -> str | None:
    """The file that could not be read, which parsers do not name."""
    module = type(error).__module__.partition('.')[0]
    if not (isinstance(error, (EOFError, UnicodeDecodeError))
            or module in ('json', 'pickle', '_pickle', 'yaml')):
        return None
    paths = [
        value for frame, _ in traceback.walk_tb(error.__traceback__)
        for name, value in frame.f_locals.items() if name != '__file__'
        and isinstance(value, (str, Path)) and osp.isfile(value)
    ]
    return str(paths[-1]) if paths else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A question to end a message with, or '' if no name is near."""
    nearest = difflib.get_close_matches(name, list(names), n=1)
    return f'; did you mean {nearest[0]}?' if nearest else ''


def registered(kind: str) -> List[str]:
    """All names registered as a kind, as configs write them."""
    import mmengine.registry
    names: List[str] = []
    for root in vars(mmengine.registry).values():
        if isinstance(root, mmengine.registry.Registry) and root.name == kind:
            names += root.module_dict
            for scope, child in root.children.items():
                names += [f'{scope}.{name}' for name in child.module_dict]
    return names


def module_exports(path: str) -> List[str]:
    """The public names of the module in a dotted path."""
    module = path.rpartition('.')[0]
    public = getattr(sys.modules.get(module), '__all__', [])
    return [f'{module}.{name}' for name in public]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically: after an error the old one is unchanged."""
    part = path.with_name(f'{path.name}.part')
    try:
        part.write_bytes(
            content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError:
        if part.exists():
            part.unlink()
        raise
