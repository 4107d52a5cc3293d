"""Measure every loss against its peers: time, and bytes kept for backward.

    python tools/benchmark.py [ROW ...] [--compile] [--growth]

Forward and backward, on the CPU, all contestants of a row in one process, in
turn and in an order that changes, so that what else the machine does hits all
of them. A ratio is the median over the rounds of ours by the peer's in the
same round. The figures go into configs/benchmark/results.json; rows that are
not named keep theirs, and the table and the picture are made of them.
"""
from __future__ import annotations
import argparse
import ctypes
import json
import math
import platform
import random
import statistics
import time
import weakref
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import torch
from benchmark_rows import ROWS, Call, Contest, Row
from pages import write_block
from torch import Tensor

FOLDER = Path(__file__).resolve().parent.parent / 'configs/benchmark'
MIB = 2**20

OURS, LIMIT = 'mmlosses', 'limit'
COMPILED = 'mmlosses, compiled'

Results = Dict[str, Dict[str, Any]]


def parameters(loss: Tensor) -> List[Tensor]:
    """The leaves of the graph of a loss."""
    found, seen, pending = [], set(), [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            found.append(node.variable)
        pending += [following for following, _ in node.next_functions]
    return found


def keep_memory() -> None:
    """Keep what is freed, as torch does with the memory of a GPU.

    Otherwise large tensors go back to the kernel, which clears their pages
    for the next one, and how long that takes depends on all that it does.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:  # of glibc
        mallopt(-4, 0)  # M_MMAP_MAX
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def step(call: Call, leaves: Sequence[Tensor]) -> None:
    """Forward and backward once."""
    for leaf in leaves:
        leaf.grad = None
    call().backward()


class Kept:
    """A tensor that a graph holds for its backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def saved_bytes(call: Call) -> Tuple[int, int]:
    """What is kept between forward and backward: new, and altogether.

    A storage counts once, however many views of it are kept. The inputs of
    the call, and the parameters of a loss, are there whether it keeps them or
    not as long as someone else holds them, which the loss cannot know: the
    first number leaves them out, the second has them.
    """
    kept: weakref.WeakSet[Kept] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Kept:
        item = Kept(tensor)
        kept.add(item)
        return item

    given = {x.untyped_storage().data_ptr() for x in call.inputs()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x.tensor):
        loss = call()
    # What a loss differentiates within its forward pass is gone by now.
    storages = [item.tensor.untyped_storage() for item in kept]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    del loss
    new = sum([size for key, size in sizes.items() if key not in given])
    return new, sum(sizes.values())


def measure(calls: Dict[str, Call],
            rounds: int,
            least: float = 0.01) -> Dict[str, List[float]]:
    """Seconds of each call in each round, the calls in a random order.

    A round repeats a call until it has run for ``least`` seconds.
    """
    leaves, repeats = {}, {}
    for name, call in calls.items():
        leaves[name] = parameters(call())
        step(call, leaves[name])
        begin = time.perf_counter()
        step(call, leaves[name])
        taken = time.perf_counter() - begin
        repeats[name] = max(1, math.ceil(least / taken))
    seconds: Dict[str, List[float]] = {name: [] for name in calls}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(sorted(calls), len(calls)):
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                step(calls[name], leaves[name])
            taken = time.perf_counter() - begin
            seconds[name].append(taken / repeats[name])
            for leaf in leaves[name]:
                leaf.grad = None
    return seconds


def ratio(ones: Sequence[float], others: Sequence[float]) -> List[float]:
    """Quartiles of the ratio in each round."""
    ratios = [one / other for one, other in zip(ones, others)]
    if len(ratios) < 2:
        return ratios * 3
    return statistics.quantiles(ratios, n=4, method='inclusive')


def run(contest: Contest, rounds: int, compiled: bool) -> Dict[str, Any]:
    """The figures of one row."""
    calls = {OURS: contest.ours}
    calls.update({
        name: peer
        for name, peer in contest.peers.items() if peer.function is not None
    })
    if contest.limit is not None:
        calls[LIMIT] = contest.limit
    if compiled:
        calls[COMPILED] = contest.ours.compiled()
    seconds = measure(calls, rounds)
    return {
        'missing': sorted(set(contest.peers) - set(calls)),
        'calls': {
            name: {
                'seconds':
                statistics.median(seconds[name]),
                'ratio':
                ratio(seconds[OURS], seconds[name]),
                'compiled_ratio':
                ratio(seconds[COMPILED], seconds[name]) if compiled else None,
                'saved':
                saved_bytes(call)
            }
            for name, call in calls.items()
        }
    }


def peers_of(result: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    """The figures of the peers alone."""
    return {
        name: figures
        for name, figures in result['calls'].items()
        if name not in (OURS, LIMIT, COMPILED)
    }


def best_peer(result: Dict[str, Any]) -> str | None:
    """The peer against which ours looks worst."""
    peers = peers_of(result)
    return max(peers, key=lambda name: peers[name]['ratio'][1], default=None)


def spread(quartiles: Sequence[float]) -> str:
    """A median between its quartiles."""
    low, middle, high = quartiles
    return f'{middle:.2f} ({low:.2f}-{high:.2f})'


def kept(figures: Dict[str, Any]) -> str:
    """Bytes for backward, new and altogether, in MiB."""
    new, all_of_them = [size / MIB for size in figures['saved']]
    return f'{new:.2f} / {all_of_them:.2f}'


def line(row: Row, result: Dict[str, Any]) -> str:
    """A line of the table."""
    calls = result['calls']
    name = best_peer(result)
    cells = [
        f'`{row.name}`', result['size'],
        f'{1000 * calls[OURS]["seconds"]:.2f}', 'no peer here', '', '',
        '' if row.goal is None else f'{row.goal}',
        kept(calls[OURS]), '', '', ''
    ]
    if name is not None:
        peer = calls[name]
        cells[3:6] = [
            name, f'{1000 * peer["seconds"]:.2f}',
            spread(peer['ratio'])
        ]
        cells[8] = kept(peer)
    if LIMIT in calls:
        cells[9] = f'{row.limit}: {calls[LIMIT]["ratio"][1]:.2f}'
    if COMPILED in calls:
        cells[10] = f'{calls[name or OURS]["compiled_ratio"][1]:.2f}'
        if LIMIT in calls:
            cells[10] += f', {calls[LIMIT]["compiled_ratio"][1]:.2f}'
    return '| ' + ' | '.join(cells) + ' |'


def geometric_mean(results: Results) -> float:
    """Of the ratios to the best peers."""
    logs = []
    for result in results.values():
        name = best_peer(result)
        if name is not None:
            logs.append(math.log(result['calls'][name]['ratio'][1]))
    return math.exp(statistics.mean(logs)) if logs else math.nan


def table(results: Results) -> str:
    """The page, in Markdown."""
    head = [
        'loss', 'size', 'ours, ms', 'best peer', 'its ms', 'ratio (quartiles)',
        'goal', 'ours keeps, MiB', 'the peer keeps', 'ratio to the limit',
        'compiled: ratio to peer, limit'
    ]
    rows = {row.name: row for row in ROWS}
    lines = ['| ' + ' | '.join(head) + ' |', '| --- ' * len(head) + '|']
    lines += [line(rows[name], result) for name, result in results.items()]
    lines += [
        '', f'Geometric mean of the ratios to the best peers: '
        f'{geometric_mean(results):.2f}; goal 0.45.'
    ]
    places: Dict[str, List[str]] = {}
    for name, result in results.items():
        places.setdefault(result['on'], []).append(f'`{name}`')
        if result['missing']:
            lines.append(f'\n`{name}` was measured without '
                         f'{", ".join(result["missing"])}.')
    for place, names in places.items():
        which = 'All rows' if len(places) == 1 else ', '.join(names)
        lines.append(f'\n{which}: {place}. No GPU was measured.')
    return '\n'.join(lines)


def draw(results: Results, path: Path) -> None:
    """A bar for each row, and its goal."""
    from matplotlib.figure import Figure
    rows = {row.name: row for row in ROWS}
    shown = [name for name in results if best_peer(results[name])]
    figure = Figure(figsize=(9, 1.5 + 0.28 * len(shown)), layout='constrained')
    axes = figure.subplots()
    for place, name in enumerate(reversed(shown)):
        peer = best_peer(results[name])
        low, middle, high = results[name]['calls'][peer]['ratio']
        goal = rows[name].goal
        missed = goal is not None and middle > goal
        axes.barh(
            place,
            middle,
            xerr=[[middle - low], [high - middle]],
            color='C1' if missed else 'C0')
        axes.text(high, place, f'  {middle:.2f} of {peer}', va='center')
        if goal is not None:
            axes.plot([goal, goal], [place - 0.4, place + 0.4], 'k')
    axes.axvline(1, color='gray', linestyle=':')
    axes.set(
        xscale='log',
        xlabel='time by that of the best peer; the black line is the goal',
        yticks=range(len(shown)),
        yticklabels=list(reversed(shown)),
        ylim=(-0.6, len(shown) - 0.4))
    axes.set_xlim(right=1.6 * axes.get_xlim()[1])
    figure.savefig(path, dpi=90)


def draw_growth(rounds: int, path: Path, rows: Sequence[Row]) -> None:
    """Time and bytes kept against the size, for the rows that have one."""
    from matplotlib.figure import Figure
    rows = [row for row in rows if row.grows]
    figure = Figure(figsize=(3.6 * len(rows), 6), layout='constrained')
    panels = figure.subplots(2, len(rows), squeeze=False)
    for (above, below), row in zip(panels.T, rows):
        (size, values), = row.grows.items()
        times: Dict[str, List[float]] = {}
        bytes_kept: Dict[str, List[float]] = {}
        for value in values:
            torch.manual_seed(0)
            contest = row.make(**{size: value})
            result = run(contest, rounds, False)
            for name, figures in result['calls'].items():
                times.setdefault(name, []).append(1000 * figures['seconds'])
                bytes_kept.setdefault(name,
                                      []).append(figures['saved'][1] / MIB)
        print(
            f'{row.name}, {size} {values}: '
            f'{[round(x, 3) for x in times[OURS]]} ms',
            flush=True)
        for name in times:
            for axes, numbers in ((above, times), (below, bytes_kept)):
                axes.plot(
                    values, numbers[name], 'o-', markersize=3, label=name)
        above.set(title=row.name, xscale='log', yscale='log')
        below.set(xlabel=size, xscale='log', yscale='log')
        for axes in (above, below):
            axes.grid(alpha=0.3)
            axes.minorticks_off()
            axes.set_xticks(values, [f'{value:,}' for value in values])
        above.legend(fontsize='small')
    panels[0][0].set_ylabel('forward and backward, ms')
    panels[1][0].set_ylabel('kept for backward, MiB')
    figure.savefig(path, dpi=80)


def machine() -> str:
    """What the figures depend on, besides the code."""
    cpu = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.exists():
        for text in info.read_text().splitlines():
            if text.startswith('model name'):
                cpu = text.partition(':')[2].strip()
                break
    threads = torch.get_num_threads()
    return (f'{cpu}, {threads} thread{"s" if threads > 1 else ""}, '
            f'torch {torch.__version__.partition("+")[0]}')


def main() -> None:
    """Measure the rows, and write what came out."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('row', nargs='*', help=f'of {", ".join(names)}')
    parser.add_argument('--rounds', type=int, default=21)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument(
        '--compile', action='store_true', help='also ours by inductor')
    parser.add_argument(
        '--growth', action='store_true', help='draw cost against size instead')
    parser.add_argument(
        '--small', action='store_true', help='tiny inputs, to try the tool')
    parser.add_argument('--out', type=Path, default=FOLDER)
    args = parser.parse_args()
    unknown = set(args.row) - set(names)
    if unknown:
        parser.error(f'unknown row {", ".join(sorted(unknown))}: it is one of '
                     f'{", ".join(names)}')
    torch.set_num_threads(args.threads)
    keep_memory()
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = [row for row in ROWS if row.name in (args.row or names)]
    if args.growth:
        draw_growth(args.rounds, args.out / 'growth.png', chosen)
        return
    record = args.out / 'results.json'
    results = json.loads(record.read_text()) if record.exists() else {}
    for row in chosen:
        torch.manual_seed(0)
        contest = row.make(**(row.small if args.small else {}))
        results[row.name] = run(contest, args.rounds, args.compile)
        results[row.name].update(
            on=machine(), size='small' if args.small else row.size)
        print(line(row, results[row.name]), flush=True)
        record.write_text(json.dumps(results, indent=1) + '\n')
    results = {name: results[name] for name in names if name in results}
    draw(results, args.out / 'ratios.png')
    write_block(args.out / 'README.md', 'benchmark', table(results))


if __name__ == '__main__':
    main()
