"""One look for pictures: on a light and on a dark page, large and small."""
from __future__ import annotations
import io
from pathlib import Path
from typing import Any, NamedTuple, Tuple

import numpy as np
from cycler import cycler
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from pages import write_whole
from PIL import Image


class Theme(NamedTuple):
    """The colours of a page.

    The curves have those of Okabe and Ito, which the colour-blind can tell
    apart, darkened or lightened for the background.
    """
    suffix: str  # of the file name
    background: str  # GitHub's, so that a picture has no edges
    text: str
    grid: str
    curves: Tuple[str, ...]


THEMES = (
    Theme('', '#ffffff', '#1f2328', '#d8dee4',
          ('#0072b2', '#d55e00', '#009e73', '#b5589a', '#c98a00', '#45aee8',
           '#57606a')),
    Theme('_dark', '#0d1117', '#e6edf3', '#30363d',
          ('#4da3e8', '#ff8345', '#2bc79a', '#e48cc0', '#f2b632', '#a5dcfa',
           '#9aa4af')),
)


class Size(NamedTuple):
    """How large a picture is drawn; it is shown at 100 pixels an inch."""
    width: float
    height: float  # of a row of panels
    text: float
    ticks: int
    dpi: int


# A page is some 850 pixels wide, a card in a table 220. A picture of many
# rows would have too many bytes.
PAGE = Size(width=8.5, height=2.95, text=8.5, ticks=6, dpi=200)
TALL = Size(width=8.5, height=2.4, text=8.5, ticks=6, dpi=118)
CARD = Size(width=2.2, height=1.75, text=7.2, ticks=3, dpi=200)


def settings(theme: Theme, size: Size) -> Any:
    """The settings of matplotlib for a page and a size."""
    pad = 0.03 if size is CARD else 0.06
    lines = cycler(linestyle=['-', '--', ':']) * cycler(color=theme.curves)
    return {
        'axes.edgecolor': theme.text,
        'axes.facecolor': theme.background,
        'axes.grid': True,
        'axes.labelcolor': theme.text,
        'axes.labelpad': 2,
        'axes.labelsize': size.text,
        'axes.prop_cycle': lines,
        'axes.spines.right': False,
        'axes.spines.top': False,
        'axes.titlepad': 4,
        'axes.titlesize': size.text + 1,
        'figure.constrained_layout.h_pad': pad,
        'figure.constrained_layout.use': True,
        'figure.constrained_layout.w_pad': pad,
        'figure.facecolor': theme.background,
        'font.size': size.text,
        'grid.color': theme.grid,
        'grid.linewidth': 0.6,
        'legend.borderaxespad': 0.3,
        'legend.borderpad': 0.2,
        'legend.edgecolor': theme.background,
        'legend.facecolor': theme.background,
        'legend.fontsize': size.text - 0.5,
        'legend.handlelength': 1.9,
        'legend.labelspacing': 0.25,
        'lines.markersize': 4,
        'savefig.facecolor': theme.background,
        'text.color': theme.text,
        'xtick.color': theme.text,
        'xtick.labelsize': size.text - 0.5,
        'ytick.color': theme.text,
        'ytick.labelsize': size.text - 0.5,
    }


def shades(theme: Theme) -> np.ndarray:
    """The colours of a theme on their way to the background, as bytes."""
    background = np.array(to_rgb(theme.background))
    colors = np.array([to_rgb(x) for x in (theme.text, *theme.curves)])
    share = np.linspace(0, 1, 17)[:, None, None]
    mixed = background + share * (colors - background)
    mixed = np.concatenate([mixed.reshape(-1, 3), [to_rgb(theme.grid)]])
    return np.unique(np.rint(255 * mixed).astype(int), axis=0)


def save(figure: Figure, path: Path, theme: Theme) -> None:
    """Write a picture whole, with the colours of the theme alone.

    A palette of colours that occur often, as Pillow chooses it, would not
    hold that of a short dashed curve.
    """
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format='png')
    pixels = np.asarray(Image.open(drawn).convert('RGB')).astype(int)
    found, index = np.unique(
        pixels.reshape(-1, 3) @ [2**16, 2**8, 1], return_inverse=True)
    found = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=-1)
    palette = shades(theme)
    distance = ((found[:, None] - palette)**2).sum(axis=-1)
    nearest = distance.argmin(axis=1).astype('uint8')
    image = Image.fromarray(nearest[index].reshape(pixels.shape[:2]))
    image.putpalette(palette.astype('uint8').tobytes())
    image.save(small, format='png', optimize=True)
    write_whole(path, small.getvalue())
