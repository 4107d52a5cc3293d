"""Draw the losses: value and gradient curves, one picture for each family.

    python tools/plot_losses.py [--family NAME ...] [--out FOLDER]

Every curve is computed by the losses themselves. For each family, four
pictures go into the folder of its name: ``curves.png``, some 850 pixels wide,
and ``card.png``, its first panel alone for a table, 220 pixels wide; and both
for a dark page, as ``curves_dark.png`` and ``card_dark.png``.
"""
from __future__ import annotations
import argparse
from pathlib import Path
from typing import List, Set, Tuple

from matplotlib import rc_context
from matplotlib.figure import Figure
from plot_panels import FAMILIES, Family, Panel
from plot_style import CARD, TALL, THEMES, Theme, save, settings

from mmlosses.cli import did_you_mean, one_line_errors

FOLDER = Path(__file__).resolve().parent.parent / 'configs'


def draw(family: Family,
         theme: Theme,
         card: bool = False) -> Tuple[Figure, Set[str]]:
    """Draw the panels of a family, or the first one alone as a card.

    Returns:
        tuple: The figure, and the names of the losses that are in it.
    """
    rows, size = family.rows, family.page
    if card:
        rows, size = [rows[0][:1]], CARD
    losses: Set[str] = set()
    with rc_context(settings(theme, size)):
        figure = Figure((size.width, size.height * len(rows)), size.dpi)
        grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for functions, row in zip(rows, grid):
            for function, axes in zip(functions, row):
                axes.locator_params(nbins=size.ticks, steps=[1, 2, 5, 10])
                panel = Panel(axes, card)
                function(panel)
                losses |= panel.losses
        if size is TALL:
            for axes in grid[-1]:
                axes.legend(
                    loc='upper center', bbox_to_anchor=(0.5, -0.25), ncol=2)
    return figure, losses


def draw_family(name: str, folder: Path) -> List[str]:
    """Write the pictures of a family; returns the losses that they show."""
    folder.mkdir(parents=True, exist_ok=True)
    shown: Set[str] = set()
    for theme in THEMES:
        for stem, card in (('curves', False), ('card', True)):
            figure, losses = draw(FAMILIES[name], theme, card)
            save(figure, folder / f'{stem}{theme.suffix}.png', theme)
            shown |= losses
    return sorted(shown)


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--family',
        nargs='+',
        default=list(FAMILIES),
        metavar='NAME',
        help=f'of {", ".join(FAMILIES)} (default: all)')
    parser.add_argument(
        '--out',
        type=Path,
        default=FOLDER,
        help='folder of the folders of the families (default: configs)')
    args = parser.parse_args()
    with one_line_errors(ValueError):
        for name in args.family:
            if name not in FAMILIES:
                raise ValueError(f'{name} is not a family of losses' +
                                 did_you_mean(name, FAMILIES))
    with one_line_errors(OSError):
        for name in args.family:
            losses = draw_family(name, args.out / name)
            print(f'{args.out / name}: {", ".join(losses)}', flush=True)


if __name__ == '__main__':
    main()
