"""Weight alignment, upcasting and the base class."""
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmlosses.core.reduction import align_weight
from mmlosses.core.tensors import autocast_off, upcast
from mmlosses.losses import BaseLoss


@given(
    shape=st.lists(st.integers(0, 4), min_size=0, max_size=4),
    weight=st.lists(st.integers(0, 4), min_size=0, max_size=5))
def test_align_weight_pads_on_the_right(shape, weight):
    """NumPy as reference: pad or drop trailing axes, then broadcast."""
    padded = list(weight)
    while len(padded) > len(shape) and padded[-1] == 1:
        padded.pop()
    padded += [1] * (len(shape) - len(padded))
    try:
        fits = np.broadcast_shapes(tuple(padded), tuple(shape)) == tuple(shape)
    except ValueError:
        fits = False
    if fits:
        got = align_weight(torch.zeros(weight), shape)
        assert got.expand(shape).shape == torch.Size(shape)
        assert got.ndim == len(shape)
    else:
        with pytest.raises(ValueError) as caught:
            align_weight(torch.zeros(weight), shape)
        assert str(tuple(weight)) in str(caught.value)
        assert str(tuple(shape)) in str(caught.value)


@pytest.mark.parametrize('dtype, expected', [
    (torch.float16, torch.float32),
    (torch.bfloat16, torch.float32),
    (torch.float32, torch.float32),
    (torch.float64, torch.float64),
    (torch.int64, torch.int64),
    (torch.uint8, torch.uint8),
    (torch.bool, torch.bool),
])
def test_upcast(dtype, expected):
    assert upcast(torch.zeros(2, dtype=dtype)).dtype == expected


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_autocast_off(device):
    with torch.autocast('cpu', dtype=torch.bfloat16):
        with autocast_off(device):
            product = torch.ones(1, 1) @ torch.ones(1, 1)
    assert (product.dtype == torch.float32) == (device == 'cpu')


def test_base_loss_has_no_formula():
    with pytest.raises(NotImplementedError):
        BaseLoss()(torch.zeros(2), torch.zeros(2))


@pytest.mark.parametrize('pred, got', [(torch.zeros(2).long(), 'int64'),
                                       (torch.zeros(2).cfloat(), 'complex64'),
                                       ([0.0], 'float'), (0.0, 'float')])
def test_prediction_must_be_floating(pred, got):
    with pytest.raises(TypeError, match=f'pred must .* got .*{got}'):
        BaseLoss()(pred, torch.zeros(2))
