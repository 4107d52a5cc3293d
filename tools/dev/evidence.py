"""Compare losses on hard digits, and write what was found onto the pages.

    python tools/dev/evidence.py [STUDY ...] [--pages]

Each study trains a config of configs/digits/studies with several losses and
five seeds, by `python -m mmlosses compare`. After an interruption, the same
command goes on. The results are kept in configs/digits/studies/results. The
page of the family shows them as a table and a picture; --pages writes these
from the results that are there, and trains nothing.
"""
from __future__ import annotations
import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

from arguments import parse_names
from family_pages import picture, row_of
from matplotlib import rc_context
from matplotlib.figure import Figure
from pages import CONFIGS, ROOT, write_block
from plot_style import PAGE, THEMES, Theme, save, settings

from mmlosses.cli import one_line_errors, read_config, write_whole
from mmlosses.compare.ranking import Rank, rank
from mmlosses.compare.report import ends, signed

FOLDER = CONFIGS / 'digits/studies'
SEEDS = 5

HEAD = ('loss', '{metric}', '95 % interval', 'difference', 'verdict',
        'ms a step')

TEXT = f"""\
## Which is better on hard digits

{SEEDS} trainings of a small model for each loss, on
[hard digits](../digits/README.md#studies), with all else equal: the mean over
the seeds of the metric of the last validation, and the difference to the loss
of the config, seed by seed, with the half-width of its 95 % interval. `better`
and `worse` are what a paired t test tells from noise, corrected for the number
of losses. The learning rate was not tuned for any loss.
`python tools/dev/evidence.py` runs it."""


class Study(NamedTuple):
    """One config, and the losses to compare with that of the config."""
    family: str  # that shows it
    title: str
    losses: Sequence[str]


# For 20 times as many images of the first class as of the last.
CLASS_WEIGHT = [round(20**(i / 9), 1) for i in range(10)]
KEYPOINT = 'use_target_weight=True'
VECTORS = 'num_classes=10, in_channels=16'

STUDIES = {
    'boxes':
    Study('boxes', 'Hard digits',
          ('IoULoss', 'ExtendedIoULoss', 'DIoULoss', 'CIoULoss', 'EIoULoss',
           'EIoULoss(focal_gamma=0.5)', 'SIoULoss', 'WIoULoss(version=1)',
           'WIoULoss(momentum=0.01)', 'AlphaIoULoss', 'MPDIoULoss',
           'InnerIoULoss', 'ShapeIoULoss', 'NWDLoss(constant=16.0)',
           'BoundedIoULoss', 'L1Loss')),
    'boxes_wrong':
    Study('boxes', '20 % wrong boxes',
          ('WIoULoss(momentum=0.01)', 'AlphaIoULoss', 'CIoULoss', 'L1Loss')),
    'boxes_tiny':
    Study('boxes', 'Tiny digits',
          ('NWDLoss(constant=6.0)', 'IoULoss', 'CIoULoss', 'L1Loss')),
    'labels_wrong':
    Study('cross_entropy', '20 % wrong labels',
          ('LabelSmoothLoss', 'FocalLoss', 'GHMC', 'AsymmetricLoss')),
    'keypoints':
    Study('regression', 'Keypoints of hard digits',
          (f'L1Loss({KEYPOINT})', f'MSELoss({KEYPOINT})',
           f'WingLoss({KEYPOINT})', f'SoftWingLoss({KEYPOINT})')),
    'masks':
    Study('segmentation', 'Ink of hard digits',
          ('DiceLoss', 'FocalLoss', 'TverskyLoss', 'BalancedBCELoss',
           "LovaszLoss(loss_type='binary')")),
    'long_tail':
    Study('long_tail', 'Long-tailed digits',
          (f'CrossEntropyLoss(class_weight={CLASS_WEIGHT})',
           'SeesawLoss(num_classes=10, return_dict=False)',
           'EQLV2Loss(num_classes=10)')),
    'margin':
    Study('margin', 'Embeddings of plain digits',
          (f'ModifiedSoftmaxLoss({VECTORS})',
           f'CenterSoftmaxLoss({VECTORS}, center_weight=0.01)',
           f'ArcFaceLoss({VECTORS}, scale=16.0, margin=0.1)',
           f'ArcFaceLoss({VECTORS}, scale=16.0, margin=0.3)',
           f'ArcFaceLoss({VECTORS}, scale=16.0, margin=0.5)')),
}


def train(name: str) -> None:
    """Run a study to its end, and keep its results."""
    work_dir = ROOT / 'work_dirs/evidence' / name
    work_dir.mkdir(parents=True, exist_ok=True)
    spent = work_dir / 'cpu_seconds.txt'
    seconds = float(spent.read_text()) if spent.exists() else 0.0
    before = os.times()
    try:
        subprocess.run([
            sys.executable, '-m', 'mmlosses', 'compare',
            str(FOLDER / f'{name}.py'), '--slot', 'head.loss', '--losses',
            *STUDIES[name].losses, '--seeds',
            str(SEEDS), '--size', '32', '--work-dir',
            str(work_dir)
        ],
                       env=dict(os.environ, OMP_NUM_THREADS='1'))
    finally:
        after = os.times()
        seconds += (
            after.children_user + after.children_system -
            before.children_user - before.children_system)
        spent.write_text(str(seconds))
    board = work_dir / 'leaderboard.json'
    if not board.exists():
        raise ValueError(f'the study {name} ended without a result')
    results_of(name).parent.mkdir(exist_ok=True)
    write_whole(
        results_of(name),
        json.dumps(
            dict(
                kept(json.loads(board.read_text())),
                minutes=round(seconds / 60)),
            indent=1) + '\n')


def results_of(name: str) -> Path:
    """Where the results of a study are kept."""
    return FOLDER / f'results/{name}.json'


def kept(board: Dict[str, Any]) -> Dict[str, Any]:
    """What is kept of a leaderboard: from it, all else can be computed."""
    return dict(
        metric=board['metric'],
        failures=board['failures'],
        losses={
            each['loss']:
            dict(
                values={
                    seed: round(value, 4)
                    for seed, value in each['values'].items()
                },
                milliseconds=each['milliseconds']
                and round(each['milliseconds'], 1))
            for each in board['losses']
        })


class Results:
    """The ranks of a study that was run."""

    def __init__(self, name: str) -> None:
        self.study, self.config = STUDIES[name], f'{name}.py'
        data = json.loads(results_of(name).read_text())
        self.metric, self.minutes = data['metric'], data['minutes']
        self.losses, self.failures = data['losses'], data['failures']
        loss = dict(read_config(str(FOLDER / self.config)).model.head.loss)
        self.reference = loss.pop('type').partition('.')[2]
        self.ranks = rank({
            x: y['values']
            for x, y in self.losses.items()
        }, 'stock', True)

    def label(self, name: str) -> str:
        """A loss on a page, without its sizes and long lists."""
        name = self.reference if name == 'stock' else name
        name = name.replace(f'({VECTORS})', '').replace(f'{VECTORS}, ', '')
        return re.sub(r'\[.*?\]', '[...]', name)

    def rows(self) -> List[str]:
        """The table, in Markdown."""
        head = [x.format(metric=self.metric) for x in HEAD]
        return [row_of(head), row_of(['---'] * len(head))
                ] + [self.row(x) for x in self.ranks]

    def row(self, each: Rank) -> str:
        """The row of a loss."""
        name = f'`{self.label(each.name)}`'
        if each.metric is None:
            return row_of([name, '', '', '', 'failed', ''])
        low, high = ends(each.metric)
        return row_of([
            name, f'{each.metric.mean:.4f}', f'{low:.4f} to {high:.4f}',
            signed(each.difference), each.verdict,
            f'{self.losses[each.name]["milliseconds"]:.1f}'
        ])

    def summary(self) -> str:
        """What differs from the reference, in a sentence or two."""
        found = []
        for verdict in ('better', 'worse'):
            names = [
                f'`{self.label(x.name)}`' for x in self.ranks
                if x.verdict == verdict
            ]
            if names:
                found.append(f'{verdict.capitalize()} than '
                             f'`{self.reference}`: {", ".join(names)}.')
        unclear = len([x for x in self.ranks if 'noise' in x.verdict])
        if unclear and not found:
            found.append(f'No difference to `{self.reference}` is more than '
                         'noise.')
        elif unclear:
            verb = 'is' if unclear == 1 else 'are'
            found.append(f'The other {unclear} {verb} within the noise.')
        failed = [f'`{x.name}`' for x in self.ranks if x.metric is None]
        if failed:
            found.append(f'Failed: {", ".join(failed)}.')
        return ' '.join(found)

    def text(self) -> str:
        """The section of a page."""
        link = f'[{self.config}](../digits/studies/{self.config})'
        return '\n'.join([
            f'### {self.study.title}', '', f'{self.summary()} Config: {link}; '
            f'{self.minutes} CPU minutes on 2 cores.', '', *self.rows()
        ])


def block(results: Sequence[Results]) -> str:
    """What a page says about its studies."""
    return '\n\n'.join([
        TEXT,
        picture('', 'evidence', 'difference of each loss to the reference',
                850)
    ] + [each.text() for each in results])


def draw(results: Sequence[Results], theme: Theme) -> Figure:
    """The differences to the reference, with their intervals."""
    names = list(
        dict.fromkeys([
            x.name for each in results for x in each.ranks if x.name != 'stock'
        ]))[::-1]
    colors = dict(better=theme.curves[2], worse=theme.curves[1])
    with rc_context(settings(theme, PAGE)):
        height = 0.8 + 0.17 * len(names)
        figure = Figure((PAGE.width, height), PAGE.dpi)
        row = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
        for axes, each in zip(row, results):
            for loss in each.ranks:
                if loss.difference and loss.name != 'stock':
                    mean, half = loss.difference
                    axes.errorbar(
                        mean,
                        names.index(loss.name),
                        xerr=half,
                        fmt='o',
                        markersize=3,
                        color=colors.get(loss.verdict, theme.curves[-1]))
            axes.axvline(0, color=theme.text, linewidth=0.8)
            axes.set(
                title=each.study.title,
                xlabel=f'{each.metric} minus that of {each.reference}')
        row[0].set_yticks(
            range(len(names)), [results[0].label(x) for x in names])
        row[0].set_ylim(-0.7, len(names) - 0.3)
    return figure


def found_for(family: str) -> List[Results]:
    """The results for the page of a family."""
    return [
        Results(name) for name, study in STUDIES.items()
        if study.family == family and results_of(name).exists()
    ]


def write_page(family: str) -> None:
    """Write the results of a family onto its page, with the picture."""
    results = found_for(family)
    for theme in THEMES:
        save(
            draw(results, theme),
            CONFIGS / family / f'evidence{theme.suffix}.png', theme)
    page = CONFIGS / family / 'README.md'
    text = page.read_text()
    if '<!-- evidence -->' not in text:
        place = '## The losses\n'
        marks = '<!-- evidence -->\n<!-- end of evidence -->\n\n'
        write_whole(page, text.replace(place, marks + place, 1))
    write_block(page, 'evidence', block(results))


def main() -> None:
    """Run the studies, and write the page after each."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', nargs='*', metavar='STUDY')
    parser.add_argument('--pages', action='store_true')
    args = parse_names(parser, 'study', STUDIES)
    for name in args.study or STUDIES:
        if not args.pages:
            train(name)
        if results_of(name).exists():
            write_page(STUDIES[name].family)


if __name__ == '__main__':
    with one_line_errors():
        main()
