"""The leaderboard of a comparison as text, Markdown, JSON and a picture."""
from __future__ import annotations
import json
import math
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from mmlosses.cli import write_whole
from .ranking import Interval, Rank, interval, rank
from .study import Comparison, Outcome

HEAD = ('loss', 'seeds', 'mean', '95 % interval', 'difference', 'p', 'verdict',
        'ms a step', 'MiB')


class Leaderboard:
    """The ranks of the losses of a comparison.

    Args:
        comparison (Comparison): The comparison.
        reference (str): The loss to compare the others with.
        greater (bool): If True, more of the metric is better.
    """

    def __init__(self, comparison: Comparison, reference: str,
                 greater: bool) -> None:
        self.metric, self.reference = comparison.metric, reference
        self.outcomes = comparison.outcomes()
        self.tuned = comparison.tuned
        values: Dict[str, Dict[int, float]] = {
            name: {}
            for name in comparison.candidates
        }
        for outcome in self.outcomes:
            if outcome.result is not None:
                values[outcome.name][outcome.seed] = outcome.result.value
        self.ranks = rank(values, reference, greater)

    def of(self, name: str) -> List[Outcome]:
        """The outcomes of a loss that have a result."""
        return [x for x in self.outcomes if x.name == name and x.result]

    def costs(self, name: str) -> Tuple[float, float]:
        """Milliseconds a step and the most MiB.

        The least disturbed training counts: other work slows some of them.
        """
        results: List[Any] = [x.result for x in self.of(name)]
        if not results:
            return math.nan, math.nan
        seconds = min(x.seconds for x in results)
        return 1000 * seconds, max(x.memory for x in results)

    @property
    def failures(self) -> List[str]:
        """A line for each training that failed."""
        return [
            f'{x.name}, seed {x.seed}: {x.reason}' for x in self.outcomes
            if x.result is None
        ]

    @property
    def tuned_lines(self) -> List[str]:
        """A line for each loss whose arguments were tuned."""
        return [
            f'{name}: ' +
            ', '.join([f'{x}={y:.4g}' for x, y in values.items()])
            for name, values in self.tuned.items()
        ]

    def rows(self) -> List[Tuple[str, ...]]:
        """The table, with its head."""
        return [HEAD] + [self.row(each) for each in self.ranks]

    def row(self, each: Rank) -> Tuple[str, ...]:
        """The cells of a loss."""
        milliseconds, memory = self.costs(each.name)
        if each.metric is None:
            return (each.name, '0', *[''] * 4, 'failed', '', '')
        low, high = ends(each.metric)
        return (each.name, str(len(each.values)), f'{each.metric.mean:.4f}',
                f'{low:.4f} to {high:.4f}' if low < high else '',
                signed(each.difference),
                '' if each.p is None else f'{each.p:.3f}', each.verdict,
                f'{milliseconds:.0f}', f'{memory:.0f}' if memory else '')

    def markdown(self) -> str:
        """The table, the failures and what the columns mean."""
        lines = [
            f'# {self.metric}, by loss', '',
            *['| ' + ' | '.join(row) + ' |' for row in self.rows()]
        ]
        lines.insert(3, '| ' + ' | '.join(['---'] * len(HEAD)) + ' |')
        lines += [
            '',
            f'Difference: to {self.reference}, of the same seeds, with the '
            'half-width of its 95 % interval. p: of a paired t test that '
            'there is none, corrected for the number of losses by the method '
            'of Holm.', '', '![curves](leaderboard.png)'
        ]
        if self.tuned:
            lines += ['', '## Tuned', '']
            lines += [f'- {line}' for line in self.tuned_lines]
        if self.failures:
            lines += ['', '## Failed', '']
            lines += [f'- {line}' for line in self.failures]
        return '\n'.join(lines) + '\n'

    def data(self) -> Dict[str, Any]:
        """All numbers."""
        losses = []
        for each in self.ranks:
            milliseconds, memory = self.costs(each.name)
            losses.append(
                dict(
                    loss=each.name,
                    values=each.values,
                    metric=numbers(each.metric),
                    difference=numbers(each.difference),
                    p=each.p,
                    verdict=each.verdict,
                    milliseconds=finite(milliseconds),
                    memory=finite(memory),
                    curves={
                        x.seed: x.result.curve  # type: ignore[union-attr]
                        for x in self.of(each.name)
                    }))
        return dict(
            metric=self.metric,
            reference=self.reference,
            losses=losses,
            tuned=self.tuned,
            failures=self.failures)

    def draw(self) -> Any:
        """The figure: curves with bands, and the last values."""
        # pyplot would need a display.
        from matplotlib.figure import Figure
        figure = Figure(
            figsize=(11, 2.5 + 0.25 * len(self.ranks)), layout='constrained')
        left, right = figure.subplots(1, 2)
        shown = [each for each in self.ranks if each.metric]
        for index, each in enumerate(shown):
            curves: List[Any] = [x.result for x in self.of(each.name)]
            steps = sorted(set.intersection(*[set(x.curve) for x in curves]))
            values = np.array([[x.curve[s] for s in steps] for x in curves])
            line, = left.plot(steps, values.mean(axis=0), 'o-', markersize=3)
            bands = [ends(interval(list(x))) for x in values.T]
            left.fill_between(
                steps, *zip(*bands), color=line.get_color(), alpha=0.15)
            place = len(shown) - index
            right.plot(
                list(each.values.values()), [place] * len(each.values),
                '.',
                color=line.get_color(),
                alpha=0.4)
            mean: Any = each.metric
            right.plot(ends(mean), [place] * 2, color=line.get_color(), lw=2)
            right.plot(mean.mean, place, 'D', color=line.get_color())
        right.set_yticks(
            range(len(shown), 0, -1), [each.name for each in shown])
        left.set(xlabel='epoch or iteration', ylabel=self.metric)
        right.set(xlabel=f'{self.metric} of the last validation')
        for axes in (left, right):
            axes.grid(alpha=0.3)
        return figure

    def write(self, folder: Path) -> None:
        """Write leaderboard.md, .json and, where there is one, .png."""
        write_whole(folder / 'leaderboard.md', self.markdown())
        write_whole(folder / 'leaderboard.json',
                    json.dumps(self.data(), indent=1))
        if any(each.metric for each in self.ranks):
            self.draw().savefig(folder / 'leaderboard.png', dpi=120)


def ends(given: Interval) -> Tuple[float, float]:
    """Both ends of an interval; the mean where there is one number."""
    half = given.half if math.isfinite(given.half) else 0.0
    return given.mean - half, given.mean + half


def signed(given: Interval | None) -> str:
    """A difference with its half-width."""
    if given is None:
        return ''
    text = f'{given.mean:+.4f}'
    return text + (f' ± {given.half:.4f}' if math.isfinite(given.half) else '')


def finite(number: float) -> float | None:
    """None instead of infinity or NaN, which JSON has not got."""
    return number if math.isfinite(number) else None


def numbers(given: Interval | None) -> Dict[str, float | None] | None:
    """An interval for JSON."""
    return given and dict(mean=given.mean, half=finite(given.half))


def print_outcome(outcome: Outcome, done: int, total: int,
                  seconds: float) -> None:
    """Print what became of a training, and how long the others take.

    Args:
        outcome (Outcome): What became of it.
        done (int): Trainings that have ended.
        total (int): All trainings.
        seconds (float): For one of them.
    """
    if outcome.result is None:
        what = f'failed: {outcome.reason}'
    else:
        what = f'{outcome.result.value:.4f}'
    left = seconds * (total - done)
    print(f'[{done}/{total}] {outcome.name}, seed {outcome.seed}: {what}; '
          f'{left / 60:.0f} min left')
