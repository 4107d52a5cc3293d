"""Find the better loss for a config: ``python -m mmlosses compare CONFIG``.

It trains the config once for each loss and seed, with all else equal: the
initial weights, the order of the samples and the schedule. It ranks the losses
by the metric of the last validation, with 95 % intervals over the seeds, and
tests the difference to the loss of the config ('stock') on the same seeds. It
says so where the difference is within the noise.

  python -m mmlosses compare configs/digits/boxes_giou.py --slot head.loss \\
      --losses stock CIoULoss 'SIoULoss(theta=2)' --seeds 5

Each training is one of `python -m mmlosses train`, in a folder of its own. The
results are in a database: the same command goes on after an interruption, and
the same --storage lets several machines share the trainings. In the work dir
are leaderboard.md, leaderboard.json and leaderboard.png.

Exit status 0: the losses are ranked. 1: a wrong argument, or no training of a
loss ended well.
"""
from __future__ import annotations
import argparse
import os
import os.path as osp
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, List, Sequence

from mmlosses.cli import add_cfg_options, find_config, one_line_errors
from .check_config import load_config, print_table, quiet


def positive(text: str) -> int:
    """A number of seeds, epochs or workers."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {number}')
    return number


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('config', help='path of the config, or PROJECT::NAME')
    parser.add_argument(
        '--slot',
        required=True,
        help='end of the path of the loss in the model, such as\n'
        'bbox_head.loss_bbox; * stands for any text')
    parser.add_argument(
        '--losses',
        nargs='+',
        required=True,
        metavar='LOSS',
        help="names of losses, with arguments such as 'SIoULoss(theta=2)',\n"
        'or stock for that of the config, which is added if missing')
    parser.add_argument(
        '--seeds', type=positive, default=5, help='5 by default')
    parser.add_argument(
        '--search',
        type=positive,
        metavar='TRIALS',
        help='tune loss_weight and the arguments of each loss first, by so\n'
        'many trainings with another seed; written arguments stay')
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        '--epochs', type=positive, help='instead of those of the config')
    length.add_argument(
        '--iters', type=positive, help='instead of those of the config')
    parser.add_argument(
        '--metric', help='by default that of save_best in the config')
    parser.add_argument(
        '--rule',
        choices=('greater', 'less'),
        help='whether more or less of the metric is better')
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='by default work_dirs/compare_NAME of the config')
    parser.add_argument(
        '--storage',
        metavar='URL',
        help='database that workers share, such as\n'
        'postgresql+psycopg2://user:password@host/name; by default an\n'
        'SQLite file in the work dir')
    parser.add_argument(
        '--workers',
        type=positive,
        default=1,
        help='trainings at the same time on this machine, 1 by default')
    parser.add_argument(
        '--size',
        type=positive,
        default=256,
        help='side of the fake images of the check before, 256 by default')
    add_cfg_options(parser)
    parser.add_argument('--join', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def prepare(args: argparse.Namespace) -> tuple:
    """Check all arguments, and return the comparison and the direction."""
    from mmlosses.compare.candidates import (STOCK, check_candidates,
                                             find_slots, metric_of,
                                             parse_candidate, shorten)
    from mmlosses.compare.study import Comparison
    args.config = find_config(args.config)
    cfg = load_config(args)
    names = args.losses if STOCK in args.losses else [STOCK, *args.losses]
    if len(set(names)) < len(names):
        raise ValueError(f'--losses has a loss twice: {" ".join(names)}')
    slots = find_slots(cfg, args.slot)
    candidates = [parse_candidate(name) for name in names]
    metric, greater = metric_of(cfg, args.metric, args.rule)
    shorten(cfg, args.epochs, args.iters)
    if not args.join:
        for line in check_candidates(cfg, slots, candidates, args.size):
            print(f'not checked before: {line}')
    work_dir = args.work_dir or Path(
        'work_dirs', f'compare_{osp.splitext(osp.basename(args.config))[0]}')
    comparison = Comparison(cfg, slots, candidates, args.seeds, metric,
                            work_dir, args.storage)
    return comparison, greater


def start_workers(number: int, argv: Sequence[str]) -> List[subprocess.Popen]:
    """Start further workers with the same arguments."""
    command = [sys.executable, '-m', 'mmlosses', 'compare', *argv]
    return [
        subprocess.Popen([*command, '--join'], stdout=subprocess.DEVNULL)
        for _ in range(number)
    ]


def search(comparison: Any, trials: int, greater: bool) -> None:
    """Tune the arguments of each loss."""
    from mmlosses.compare.search import tune
    tuned = {
        name:
        tune(comparison, candidate, trials, greater,
             lambda line: print(f'search: {line}'))
        for name, candidate in comparison.candidates.items()
    }
    comparison.use({x: y for x, y in tuned.items() if y})


def main(argv: Sequence[str] | None = None) -> None:
    """Train, rank and write the leaderboard."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    # Workers share the cores.
    threads = max((os.cpu_count() or 1) // args.workers, 1)
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))
    with quiet(), one_line_errors():
        try:
            from mmlosses.compare.report import (Leaderboard, Outcome,
                                                 print_outcome)
        except ImportError as cause:
            sys.exit(f'error: {cause}: pip install optuna scipy matplotlib')
        comparison, greater = prepare(args)
    total, begin = len(comparison.keys), time.perf_counter()
    before = len(comparison.outcomes())

    def tell(outcome: Outcome) -> None:
        done = min(len(comparison.outcomes()) + 1, total)
        spent = time.perf_counter() - begin
        print_outcome(outcome, done, total, spent / max(done - before, 1))

    workers = [] if args.join else start_workers(args.workers - 1, argv)
    try:
        with quiet():
            if args.search:
                search(comparison, args.search, greater)
            comparison.work(tell)
    finally:
        for worker in workers:
            worker.wait()
    if args.join:
        return
    board = Leaderboard(comparison, 'stock', greater)
    board.write(comparison.work_dir)
    print()
    print_table(board.rows())
    for line in board.tuned_lines:
        print(f'tuned: {line}')
    for line in board.failures:
        print(f'failed: {line}')
    print(f'written: {comparison.work_dir / "leaderboard.md"}')
    if not all(each.metric for each in board.ranks):
        sys.exit(1)
