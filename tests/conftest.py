"""What several test files need."""
import os
from pathlib import Path

import pytest

# The contract is a module of the package: show what its asserts compared.
pytest.register_assert_rewrite('mmlosses.testing')

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def coco():
    """A folder with a few COCO pictures and ``test_coco.json``."""
    folder = Path(
        os.environ.get('MMLOSSES_COCO', ROOT.parent / 'shared/data/coco'))
    if not (folder / 'test_coco.json').is_file():
        pytest.skip(f'no COCO pictures in {folder}: set MMLOSSES_COCO to a '
                    'folder with pictures and test_coco.json')
    return folder.resolve()
