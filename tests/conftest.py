"""What several test files need."""
import os
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.utils import digit_version

# The contract is a module of the package: show what its asserts compared.
pytest.register_assert_rewrite('mmlosses.testing')

# How configs name the demo; losses need no path.
needs_dotted_paths = pytest.mark.skipif(
    digit_version(mmengine.__version__) < digit_version('0.8.0'),
    reason='mmengine finds a class by its dotted path since 0.8.0')

ROOT = Path(__file__).resolve().parent.parent


def needs_dynamo():
    """Skip where this torch cannot compile on this Python."""
    try:
        torch.compile(lambda x: x + 1, backend='eager')(torch.zeros(1))
    except RuntimeError as error:
        pytest.skip(f'no torch.compile here: {error}')


@pytest.fixture(autouse=True)
def leave_no_default_scope():
    """A runner makes its scope that of all that is built after it."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(scope='session')
def coco():
    """A folder with a few COCO pictures and ``test_coco.json``."""
    folder = Path(
        os.environ.get('MMLOSSES_COCO', ROOT.parent / 'shared/data/coco'))
    if not (folder / 'test_coco.json').is_file():
        pytest.skip(f'no COCO pictures in {folder}: set MMLOSSES_COCO to a '
                    'folder with pictures and test_coco.json')
    return folder.resolve()
