"""Benchmark each loss against its peers: time, and bytes saved for backward.

    python tools/benchmark.py [ROW ...] [--compile] [--device cuda]
    python tools/benchmark.py ROW --profile
    python tools/benchmark.py --growth
    python tools/benchmark.py --many-classes
    python tools/benchmark.py --steps

It runs forward and backward, all contestants of a row in one process and in
random order, so other load hits all of them. A ratio is the median over the
rounds of our time by that of the peer in the same round. The results go into
configs/benchmark/results.json, which keeps the rows that are not named. Table
and picture show all of them. Those of a GPU have files and a table of their
own.
"""
from __future__ import annotations
import argparse
import json
from pathlib import Path
from typing import Any

import torch
from arguments import parse_names
from pages import CONFIGS, write_block

from . import many_classes, steps
from .measure import LIMIT, keep_memory, machine, measure, operators
from .report import draw, draw_growth, line, table
from .rows import ROWS, Row

FOLDER = CONFIGS / 'benchmark'


def rounded(found: Any) -> Any:
    """The same with four digits of each number."""
    return json.loads(
        json.dumps(found),
        parse_float=lambda text: float(f'{float(text):.4g}'))


def show_profile(row: Row, **sizes: int) -> None:
    """Print the operators that take most of a step, of ours and of peers."""
    torch.manual_seed(0)
    for name, call in row.calls(**sizes).items():
        if name == LIMIT or call.function is None:
            continue
        taken = operators(call)
        print(f'{row.name}, {name}: {sum(taken.values()):.3f} ms')
        for operator, time in list(taken.items())[:12]:
            print(f'  {time:8.3f}  {operator}')


def main() -> None:
    """Measure, and write the results."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('row', nargs='*', help=f'of {", ".join(names)}')
    parser.add_argument(
        '--rounds',
        type=int,
        help='21, or 5 with --many-classes or --steps, by default')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument(
        '--compile', action='store_true', help='also ours with compile=True')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument(
        '--profile',
        action='store_true',
        help='show in which operators the time of a row goes instead')
    parser.add_argument(
        '--growth', action='store_true', help='draw cost against size instead')
    parser.add_argument(
        '--many-classes',
        action='store_true',
        help='measure ArcFace with up to a million classes instead')
    parser.add_argument(
        '--steps',
        action='store_true',
        help='measure what losses take of a training step instead')
    parser.add_argument(
        '--small', action='store_true', help='tiny inputs, to try the tool')
    parser.add_argument('--out', type=Path, default=FOLDER)
    args = parse_names(parser, 'row', names)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda needs a GPU, and torch finds none')
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.many_classes:
        write_block(args.out / 'README.md', 'many classes',
                    many_classes.run(args.rounds or 5, args.small))
        return
    keep_memory()
    if args.steps:
        table_of_steps = steps.run(args.rounds or 5, args.small)
        write_block(args.out / 'README.md', 'steps',
                    f'{table_of_steps}\n\n{machine()}.')
        return
    rounds = args.rounds or 21
    chosen = [row for row in ROWS if row.name in (args.row or names)]
    if args.profile:
        for row in chosen:
            show_profile(row, **(row.small if args.small else {}))
        return
    if args.growth:
        draw_growth(rounds, args.out / 'growth.png', chosen)
        return
    suffix = '' if args.device == 'cpu' else f'_{args.device}'
    record = args.out / f'results{suffix}.json'
    results = json.loads(record.read_text()) if record.exists() else {}
    for row in chosen:
        torch.manual_seed(0)
        with torch.device(args.device):
            calls = row.calls(args.compile,
                              **(row.small if args.small else {}))
        results[row.name] = rounded(measure(calls, rounds))
        results[row.name].update(
            on=machine(args.device), size='small' if args.small else row.size)
        print(line(row, results[row.name]), flush=True)
        record.write_text(json.dumps(results, indent=1) + '\n')
    results = {name: results[name] for name in names if name in results}
    draw(results, args.out / f'ratios{suffix}.png')
    write_block(args.out / 'README.md', f'benchmark{suffix}', table(results))
