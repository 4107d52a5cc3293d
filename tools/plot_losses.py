"""Draw the losses: value and gradient curves, one picture for each family.

    python tools/plot_losses.py [--family NAME ...] [--out FOLDER]

Every curve is computed by the losses themselves. For each family, four
pictures go into the folder of its name: ``curves.png``, some 850 pixels wide,
and ``card.png``, its first panel alone for a table, 220 pixels wide; and both
for a dark page, as ``curves_dark.png`` and ``card_dark.png``. The table of
curves is in ``tools/dev/plots.py``.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / 'dev'))
from plots import main  # noqa: E402

if __name__ == '__main__':
    main(__doc__)
