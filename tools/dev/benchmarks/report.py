"""The table and the pictures of the benchmark."""
from __future__ import annotations
import io
import math
import statistics
from pathlib import Path
from typing import Any, Dict, List, Sequence

import torch

from .heads import HEAD_ROWS
from .measure import COMPILED, LIMIT, MIB, OURS, measure
from .rows import ROWS, Row

Results = Dict[str, Dict[str, Any]]

HEAD = [
    'loss', 'size', 'ours, ms', 'best peer', 'its ms', 'ratio (quartiles)',
    'goal', 'ours keeps, MiB', 'the peer keeps', 'peak by that of the peer',
    'ratio to the limit', 'compiled: ratio to ours, peer, limit'
]


def best_peer(result: Dict[str, Any]) -> str | None:
    """The fastest peer, relative to our loss."""
    peers = set(result['calls']) - {OURS, LIMIT, COMPILED}
    return max(
        sorted(peers),
        key=lambda name: result['calls'][name]['ratio'][1],
        default=None)


def ratio_of(result: Dict[str, Any]) -> float:
    """The time of ours by that of the fastest peer, in the median."""
    return result['calls'][best_peer(result)]['ratio'][1]


def faster_ratio(result: Dict[str, Any]) -> float:
    """The same, of the compiled loss if that is faster."""
    ratio = ratio_of(result)
    compiled = result['calls'].get(COMPILED)
    return ratio if compiled is None else min(
        ratio, result['calls'][best_peer(result)]['compiled_ratio'][1])


def mean_of(ratios: Sequence[float]) -> float:
    """The geometric mean, NaN of nothing."""
    return statistics.geometric_mean(ratios) if ratios else math.nan


def kept(figures: Dict[str, Any]) -> str:
    """MiB saved for backward, without and with inputs."""
    return ' / '.join([f'{size / MIB:.2f}' for size in figures['saved']])


def line(row: Row, result: Dict[str, Any]) -> str:
    """A row of the table."""
    calls = result['calls']
    name = best_peer(result)
    cells = [
        f'`{row.name}`', result['size'],
        f'{1000 * calls[OURS]["seconds"]:.2f}', 'no peer here', '', '',
        '' if row.goal is None else f'{row.goal}',
        kept(calls[OURS]), '', '', '', ''
    ]
    if name is not None:
        peer = calls[name]
        low, middle, high = peer['ratio']
        cells[3:6] = [
            name, f'{1000 * peer["seconds"]:.2f}',
            f'{middle:.2f} ({low:.2f}-{high:.2f})'
        ]
        cells[8] = kept(peer)
        cells[9] = f'{calls[OURS]["peak"] / peer["peak"]:.2f}'
    if LIMIT in calls:
        cells[10] = f'{row.limit}: {calls[LIMIT]["ratio"][1]:.2f}'
    if COMPILED in calls:
        cells[11] = ', '.join([
            f'{calls[x]["compiled_ratio"][1]:.2f}' for x in (OURS, name, LIMIT)
            if x in calls
        ])
    return '| ' + ' | '.join(cells) + ' |'


def table(results: Results) -> str:
    """The table with its notes, in Markdown."""
    rows = {row.name: row for row in ROWS}
    lines = ['| ' + ' | '.join(HEAD) + ' |', '| --- ' * len(HEAD) + '|']
    lines += [line(rows[name], result) for name, result in results.items()]
    heads = {row.name for row in HEAD_ROWS}
    for words, of_heads in (('', False), (', of the calls of heads', True)):
        found = [
            result for name, result in results.items()
            if (name in heads) == of_heads and best_peer(result)
        ]
        lines.append(
            f'\nGeometric mean of the ratios to the best peers{words}: '
            f'{mean_of([ratio_of(x) for x in found]):.2f}, and '
            f'{mean_of([faster_ratio(x) for x in found]):.2f} with '
            '`compile=True` where it pays' +
            ('.' if words else '; goal 0.42.'))
    places: Dict[str, List[str]] = {}
    for name, result in results.items():
        places.setdefault(result['on'], []).append(f'`{name}`')
        if result['missing']:
            lines.append(f'\n`{name}` was measured without '
                         f'{", ".join(result["missing"])}.')
    for place, names in places.items():
        which = 'All rows' if len(places) == 1 else ', '.join(names)
        lines.append(f'\n{which}: {place}.')
    return '\n'.join(lines)


def draw(results: Results, path: Path) -> None:
    """Draw the ratio and the goal of each row."""
    from matplotlib.figure import Figure
    rows = {row.name: row for row in ROWS}
    shown = sorted([name for name in results if best_peer(results[name])],
                   key=lambda name: ratio_of(results[name]))
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
        xlabel='time relative to the best peer; the black line is the goal',
        yticks=range(len(shown)),
        yticklabels=list(reversed(shown)),
        ylim=(-0.6, len(shown) - 0.4))
    axes.set_xlim(right=4 * axes.get_xlim()[1])
    save(figure, path, 90)


def save(figure: Any, path: Path, dpi: int) -> None:
    """Write a picture with few colours, at a quarter of the bytes."""
    from PIL import Image
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, format='png')
    few = Image.open(drawn).convert('RGB').quantize(64)
    few.save(path, format='png', optimize=True)


def draw_growth(rounds: int, path: Path, rows: Sequence[Row]) -> None:
    """Measure and draw time and saved bytes against the size."""
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
            result = measure(row.calls(**{size: value}), rounds)
            for name, figures in result['calls'].items():
                times.setdefault(name, []).append(1000 * figures['seconds'])
                bytes_kept.setdefault(name,
                                      []).append(figures['saved'][1] / MIB)
        print(
            f'{row.name}, {size} {values}: '
            f'{[round(x, 3) for x in times[OURS]]} ms',
            flush=True)
        for axes, numbers in ((above, times), (below, bytes_kept)):
            for name, ys in numbers.items():
                axes.plot(values, ys, 'o-', markersize=3, label=name)
            axes.set(xscale='log', yscale='log')
            axes.grid(alpha=0.3)
            axes.minorticks_off()
            axes.set_xticks(values, [f'{value:,}' for value in values])
        above.set_title(row.name)
        below.set_xlabel(size)
        above.legend(fontsize='small')
    panels[0][0].set_ylabel('forward and backward, ms')
    panels[1][0].set_ylabel('saved for backward, MiB')
    save(figure, path, 80)
