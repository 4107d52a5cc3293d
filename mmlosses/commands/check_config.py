"""Check that a config trains: ``python -m mmlosses check_config CONFIG``.

It builds the model of an mmdet, mmpose or other mmengine config, runs one step
on a fake batch without weights or data sets, prints the share of each loss in
the total and in the gradient, and warns about head-specific pitfalls. With
--steps it overfits that batch; the total must fall.

In the table, the value is the sum of all calls of the loss, loss_weight
included. The gradient norm is that of this part of the total over all
parameters.

Exit status 0: it trains, perhaps with warnings. 1: it does not, or it learns
something other than what the config says. 2: it could not be judged, since a
package, a file or a fake batch for its model is missing.
"""
from __future__ import annotations
import argparse
import importlib
import logging
import math
import os.path as osp
import re
import sys
import traceback
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Iterator, List, Sequence, Tuple

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmlosses.checks.configs import override
from mmlosses.checks.findings import unjudged
from mmlosses.checks.step import Check
from mmlosses.cli import add_cfg_options, explain, one_line_errors, read_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('config', help='path of the config')
    add_cfg_options(parser)
    parser.add_argument(
        '--size',
        type=int,
        default=256,
        help='side of the fake images for a detector, 256 by default')
    parser.add_argument(
        '--steps',
        type=int,
        default=1,
        help='more than 1: overfit the fake batch for so many steps, by Adam '
        'at a rate of 1e-4')
    parser.add_argument(
        '--traceback',
        action='store_true',
        help='show the traceback of an error')
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error(f'--steps must be at least 1, got {args.steps}')
    return args


def require(package: str, config: str) -> None:
    """Import a package that a config needs.

    Raises:
        ImportError: If it cannot be imported.
    """
    try:
        importlib.import_module(package)
        # Its registries import it too, but hide the reason of a failure.
        try:
            importlib.import_module(f'{package}.models')
        except ModuleNotFoundError as cause:
            if cause.name != f'{package}.models':
                raise
    except (ImportError, AssertionError) as cause:
        # mmdet asserts the version of mmcv.
        raise ImportError(
            f'{config} needs {package}, which cannot be imported here: '
            f'{" ".join(str(cause).split())}. tools/install_openmmlab.sh '
            'installs mmcv, mmdet and mmpose') from cause


def named_packages(config: str) -> List[str]:
    """The packages whose configs a config has as its base."""
    if not osp.isfile(config):
        return []
    with open(config, encoding='utf-8', errors='replace') as file:
        return sorted(set(re.findall(r'\b(\w+)::', file.read())))


def load_config(args: argparse.Namespace) -> Config:
    """Import what the config needs, read it and set its scope."""
    # First what ends here: an import of mmdet takes many seconds.
    packages = named_packages(args.config)
    for package in packages:
        if find_spec(package) is None:
            require(package, args.config)
    try:
        cfg = read_config(args.config)
    except ImportError:
        for package in packages:
            require(package, args.config)
        raise
    for package in packages:
        require(package, args.config)
    if args.cfg_options:
        override(cfg, args.cfg_options)
    if 'model' not in cfg:
        raise ValueError(f'{args.config} has no model')
    scope = cfg.get('default_scope') or 'mmengine'
    if scope not in ('mmengine', 'mmlosses'):
        require(scope, args.config)
    init_default_scope(scope)
    return cfg


@contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings about missing weights and data."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            yield
        finally:
            logging.disable(disabled)


def report(check: Check) -> None:
    """Print losses, terms, findings and the verdict."""
    if check.rows:
        print_table([('loss', 'class', 'calls', 'value', 'gradient norm')] +
                    [(path, cls, str(calls), f'{value:.4g}', f'{norm:.4g}')
                     for path, cls, calls, value, norm in check.rows])
        print()
    if check.terms:
        for name, value in check.terms.items():
            note = '' if 'loss' in name else ' (not in the total)'
            if name != 'loss':
                print(f'{name}: {value:.4g}{note}')
        print(f'total: {check.terms.get("loss", math.nan):.4g}, '
              f'gradient norm: {check.norm:.4g}')
    if check.curve:
        print('total, step by step on this batch: ' +
              ' '.join([f'{value:.4g}' for value in check.curve]))
    for finding in check.found:
        print(finding)
    print(check.verdict)


def print_table(rows: Sequence[Tuple[str, ...]]) -> None:
    """Print rows with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print('  '.join(cell.ljust(width)
                        for cell, width in zip(row, widths)).rstrip())


def main(argv: Sequence[str] | None = None) -> None:
    """Check a config and exit with the verdict."""
    args = parse_args(argv)
    with quiet():
        with one_line_errors():
            try:
                cfg = load_config(args)
            except ImportError as cause:
                print(unjudged(explain(cause)), file=sys.stderr)
                sys.exit(2)
        check = Check(cfg, args.size, args.steps)
        check.run()
    if args.traceback and check.error is not None:
        traceback.print_exception(
            type(check.error), check.error, check.error.__traceback__)
    report(check)
    sys.exit(check.status)
