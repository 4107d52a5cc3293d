"""Replace the losses of a config: ``python -m mmlosses swap CONFIG``.

It writes a config that inherits from CONFIG and has ``mmlosses.`` before the
name of every loss that has a drop-in replacement. It prints what became of
each loss, and writes the settings that keep the number of stock. CONFIG is a
path, or a stock config such as mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.

With --check it builds both models with the same weights, runs one step of each
on the same fake batch, and prints the logged losses and the gradient norms
beside each other.

Exit status 0: done, and with --check the numbers agree. 1: they differ without
a stated reason, or the new config does not train. 2: the check could not be
judged, since stock itself does not run here.
"""
from __future__ import annotations
import argparse
import math
import os.path as osp
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from mmengine.config import Config

from mmlosses.checks.step import Check
from mmlosses.checks.swaps import Swap, find_swaps, overrides, swapped
from mmlosses.cli import (explain, find_config, one_line_errors, stock_config,
                          write_whole)
from .check_config import load_config, print_table, quiet

#: Relative difference up to which two numbers agree: single precision sums
#: thousands of elements in another order.
TOLERANCE = 1e-3


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('config', help='path of the config, or PROJECT::NAME')
    parser.add_argument(
        '--out',
        type=Path,
        help='the file to write, by default NAME_mmlosses.py here, or for a\n'
        'pure-Python config beside it')
    parser.add_argument(
        '--only',
        default='*',
        metavar='PATTERN',
        help="replace only losses whose path or class fits, such as '*bbox'")
    parser.add_argument(
        '--check',
        action='store_true',
        help='run one step of both models and compare them')
    parser.add_argument(
        '--size',
        type=int,
        default=256,
        help='side of the fake images for a detector, 256 by default')
    parser.set_defaults(cfg_options=None)
    return parser.parse_args(argv)


def is_lazy(path: str) -> bool:
    """True for a pure-Python config, which mmengine has since 0.8."""
    check = getattr(Config, '_is_lazy_import', None)
    return check is not None and check(path)


def render(config: str, out: Path, cfg: Config, swaps: Sequence[Swap]) -> str:
    """The text of the new config."""
    if is_lazy(config):
        return render_lazy(config, out, swaps)
    base = stock_config(config) or osp.relpath(config, out.resolve().parent)
    text = Config(dict(model=overrides(cfg, swaps))).pretty_text
    return f'_base_ = {base!r}\n{text}'


def render_lazy(config: str, out: Path, swaps: Sequence[Swap]) -> str:
    """A pure-Python config, which imports its base."""
    path = osp.relpath(osp.realpath(config), out.resolve().parent)
    *folders, name = Path(path).with_suffix('').parts
    dots = '.' * (1 + folders.count('..'))
    module = '.'.join([*[x for x in folders if x != '..'], name])
    if not all([part.isidentifier() for part in module.split('.')]):
        raise ValueError(f'a pure-Python config cannot import {path}: choose '
                         'an --out from which the path is made of names')
    lines = [
        'from mmengine.config import read_base', '', 'with read_base():',
        f'    from {dots}{module} import *', ''
    ]
    for swap in swaps:
        if swap.ours:
            first, *keys = swap.path.split('.')
            place = ''.join(
                [f'[{key if key.isdigit() else repr(key)}]' for key in keys])
            settings = ''.join(
                [f', {key}={value!r}' for key, value in swap.settings.items()])
            lines.append(
                f'{first}{place}.update(type={swap.ours!r}{settings})')
    return '\n'.join(lines) + '\n'


def compare(cfg: Config, swaps: Sequence[Swap],
            size: int) -> Tuple[Check, Check]:
    """One step of stock and one of ours, of the same weights and batch."""
    stock = Check(deepcopy(cfg), size, brief=True)
    stock.weights = {}
    stock.run()
    ours = Check(swapped(cfg, swaps), size, brief=True)
    if stock.trains:
        ours.weights = stock.weights
        ours.run()
    return stock, ours


def numbers(check: Check) -> Dict[str, float]:
    """What a step logs, and the norm of its gradient."""
    return {**check.terms, 'gradient norm': check.norm}


def agree(one: float, other: float) -> bool:
    """True if two numbers are equal up to rounding."""
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-6)


def differing(stock: Check, ours: Check) -> List[str]:
    """The names of the numbers that differ."""
    theirs, own = numbers(stock), numbers(ours)
    return [
        name for name in {
            **theirs,
            **own
        } if name not in theirs or name not in own
        or not agree(theirs[name], own[name])
    ]


def print_comparison(stock: Check, ours: Check) -> None:
    """Print the numbers of both beside each other."""
    theirs, own = numbers(stock), numbers(ours)
    rows: List[Tuple[str, ...]] = [('', 'stock', 'mmlosses', '')]
    odd = differing(stock, ours)
    for name in {**theirs, **own}:
        pair = [f'{x.get(name, math.nan):.6g}' for x in (theirs, own)]
        rows.append((name, *pair, 'differs' if name in odd else ''))
    print_table(rows)


def judge(stock: Check, ours: Check, swaps: Sequence[Swap]) -> Tuple[str, int]:
    """The verdict of a comparison and its exit status."""
    if not stock.trains:
        return f'could not be judged: stock {stock.why}', 2
    if not ours.trains:
        return f'mmlosses {ours.why}', 1
    odd = differing(stock, ours)
    reasons = [
        f'{swap.path}: {swap.reason}' for swap in swaps
        if swap.ours and swap.reason
    ]
    if odd and not reasons:
        return f'differs in {", ".join(odd)}', 1
    if odd:
        return f'differs in {", ".join(odd)}, since {"; ".join(reasons)}', 0
    return 'agrees with stock', 0


def main(argv: Sequence[str] | None = None) -> None:
    """Write the new config, and compare both if asked to."""
    args = parse_args(argv)
    with quiet(), one_line_errors():
        args.config = find_config(args.config)
        try:
            cfg = load_config(args)
        except ImportError as cause:
            sys.exit(f'error: {explain(cause)}')
        out = args.out or Path(
            Path(args.config).parent if is_lazy(args.config) else '.',
            f'{Path(args.config).stem}_mmlosses.py')
        if out.resolve() == Path(args.config).resolve():
            raise ValueError(f'--out must be another file than {args.config}')
        swaps = find_swaps(cfg, args.only)
        rows: List[Tuple[str, ...]] = [('loss', 'stock', 'mmlosses', 'number')]
        rows += [(swap.path.partition('.')[2], swap.stock, swap.ours
                  or '-', swap.number) for swap in swaps]
        print_table(rows)
        if not any([swap.ours for swap in swaps]):
            print('nothing to replace')
            return
        write_whole(out, render(args.config, out, cfg, swaps))
    print(f'written: {out}')
    if args.check:
        status = check(cfg, swaps, args.size)
        sys.exit(status)


def check(cfg: Any, swaps: Sequence[Swap], size: int) -> int:
    """Compare both models, print it and return the exit status."""
    with quiet():
        stock, ours = compare(cfg, swaps, size)
    if stock.trains and ours.trains:
        print()
        print_comparison(stock, ours)
    verdict, status = judge(stock, ours, swaps)
    print(verdict)
    return status
