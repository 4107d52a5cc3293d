"""Helpers of several test files."""
import functools
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.utils import digit_version

ROOT = Path(__file__).resolve().parent.parent

# How configs import the demo; losses need no import.
needs_dotted_paths = pytest.mark.skipif(
    digit_version(mmengine.__version__) < digit_version('0.8.0'),
    reason='mmengine finds a class by its dotted path since 0.8.0')


@functools.lru_cache(maxsize=None)
def compiler_fault():
    """Why torch cannot compile here, or ''.

    It tries once only, since tests count what is compiled.
    """
    try:
        torch.compile(lambda x: x + 1, backend='eager')(torch.zeros(1))
    except RuntimeError as error:
        return str(error)
    return ''


def needs_dynamo(loss=None):
    """Skip where this torch cannot compile this loss."""
    if compiler_fault():
        pytest.skip(f'no torch.compile here: {compiler_fault()}')
    if loss is None:
        return
    if hasattr(loss, '__getitem__'):
        pytest.skip('its parts are called, which compile on their own')
    if (digit_version(torch.__version__) < digit_version('2.1')
            and '__getattr__' in vars(loss)):
        pytest.skip('torch 2.0 compiles no module with its own __getattr__')
