"""Weight alignment, upcasting and the base class."""
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmlosses.core.reduction import align_weight
from mmlosses.core.tensors import autocast_off, upcast
from mmlosses.losses import BaseLoss, CrossEntropyLoss, FocalLoss, L1Loss


def is_ambiguous(weight, shape):
    """Whether a weight may lack the axis of the channels of a map."""
    if len(shape) < 4 or len(weight) != len(shape) - 1 or weight[-1] == 1:
        return False
    try:
        return np.broadcast_shapes((weight[0], 1, *weight[1:]),
                                   tuple(shape)) == tuple(shape)
    except ValueError:
        return False


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
    if fits and is_ambiguous(weight, shape):
        with pytest.raises(ValueError, match='give it the axis of size 1'):
            align_weight(torch.zeros(weight), shape)
    elif fits:
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


SQUARE = (2, 3, 3, 3)


@pytest.mark.parametrize('kwargs, target', [
    (dict(use_sigmoid=True), (2, 3, 3)),
    (dict(use_sigmoid=True), SQUARE),
    (dict(use_sigmoid=False), (2, 3, 3)),
])
@pytest.mark.parametrize('cls', [CrossEntropyLoss, FocalLoss])
def test_pixel_weights_of_a_square_map(cls, kwargs, target):
    """As many classes as rows and columns change nothing."""
    torch.manual_seed(0)
    pred, weight = torch.randn(SQUARE), torch.rand(2, 3, 3)
    target = torch.randint(2, target)
    loss = cls(reduction='none', **kwargs)
    elements = loss(pred, target)
    pixels = weight if elements.ndim == 3 else weight.unsqueeze(1)
    torch.testing.assert_close(loss(pred, target, weight), elements * pixels)


def test_ambiguous_pixel_weights_are_refused():
    """Where the loss does not know which axis holds channels."""
    pred, weight = torch.rand(SQUARE), torch.rand(2, 3, 3)
    loss = L1Loss(reduction='none')
    with pytest.raises(ValueError, match=r'\(2, 3, 3, 1\) or \(2, 1, 3, 3\)'):
        loss(pred, pred, weight)
    for clear in (weight[..., None], weight[:, None], weight[..., :1],
                  weight[:, :1, :1]):
        assert loss(pred, pred + 1, clear).shape == SQUARE
