"""tools/dev/real_pictures.py in short: ours beside stock on real pictures."""
import re
import subprocess
import sys

import pytest
from helpers import ROOT

pytestmark = [pytest.mark.openmmlab, pytest.mark.slow]
try:
    import mmpose.models  # noqa: F401
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

# One of each way to call a loss; the tests of heads have the others.
KINDS = ('RetinaNet, focal and GIoU', 'CornerNet, all three', 'SimCC',
         'RLE head, PROPEL')


def run(*args):
    return subprocess.run([
        sys.executable,
        str(ROOT / 'tools/dev/real_pictures.py'), *[str(x) for x in args]
    ],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)


@pytest.fixture(scope='module')
def table(coco, tmp_path_factory):
    """The rows that trainings of four iterations leave."""
    out = tmp_path_factory.mktemp('real_pictures')
    done = run(coco, *KINDS, '--iterations', 4, '--out', out)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (out / 'real_pictures.png').stat().st_size > 10_000
    rows = re.findall(r'^\| (.+) \|$', (out / 'README.md').read_text(), re.M)
    return [row.split(' | ') for row in rows[2:]]


def test_losses_fall(table):
    assert len(table) == 4
    for name, *numbers, _ in table:
        first_stock, stock, first, last = map(float, numbers)
        assert stock < first_stock and last < first, name


def test_curves_of_drop_ins_coincide(table):
    worst = [float(row[-1]) for row in table if row[-1] != 'different loss']
    assert len(worst) == 3 and max(worst) < 1e-3


def test_wrong_folder_and_wrong_kind(coco, tmp_path):
    done = run(tmp_path)
    assert done.returncode == 2 and 'test_coco.json' in done.stderr
    done = run(coco, 'YOLO')
    assert done.returncode == 2 and 'unknown kind YOLO' in done.stderr
