"""What the tests and the doctests share."""
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from mmengine.registry import DefaultScope

# Workers of pytest-xdist share the cores, also those that start processes.
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    torch.set_num_threads(1)

# The contract is a module of the package: show what its asserts compared.
pytest.register_assert_rewrite('mmlosses.testing')

# pytest --hypothesis-profile=thorough tests/test_properties.py takes minutes.
settings.register_profile('thorough', max_examples=3200, deadline=None)

try:
    import mmcv.ops  # noqa: F401
    import mmdet  # noqa: F401
    import mmpose  # noqa: F401
except (ImportError, AssertionError):
    # The adapters import mmdet or mmpose, which assert the version of mmcv.
    # Without them the doctests of the adapters cannot even be collected.
    collect_ignore_glob = ['mmlosses/heads/*']


@pytest.fixture(autouse=True)
def no_default_scope():
    """A runner makes its scope that of all that is built after it."""
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def coco():
    """A folder with a few COCO pictures and ``test_coco.json``."""
    folder = Path(
        os.environ.get(
            'MMLOSSES_COCO',
            Path(__file__).resolve().parents[1] / 'shared/data/coco'))
    if not (folder / 'test_coco.json').is_file():
        pytest.skip(f'no COCO pictures in {folder}: set MMLOSSES_COCO to a '
                    'folder with pictures and test_coco.json')
    return folder.resolve()
