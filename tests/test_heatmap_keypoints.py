"""Losses of keypoint heatmaps, against loops over pixels in float64."""
import itertools
import math

import numpy as np
import pytest
import torch
from class_samples import REDUCTIONS, close

from mmlosses import losses
from mmlosses.losses import (AdaptiveWingLoss, CombinedTargetMSELoss,
                             FocalHeatmapLoss, GaussianFocalLoss, HeatmapLoss,
                             KeypointMSELoss, KeypointOHKMMSELoss, MSELoss)

N, K, H, W = SHAPE = (2, 3, 4, 5)
MASKED = [
    KeypointMSELoss, AdaptiveWingLoss, CombinedTargetMSELoss, FocalHeatmapLoss,
    GaussianFocalLoss, MSELoss
]


def maps(channels=K):
    """Probabilities, and targets with a peak and an empty channel."""
    pred, target = torch.rand(2, N, channels, H, W, dtype=torch.float64)
    target[:, :, 1, 2] = 1
    target[1, 2] = 0
    return pred.requires_grad_(), target


def maps_of(loss):
    return maps(3 * K if loss is CombinedTargetMSELoss else K)


@pytest.fixture(autouse=True)
def torch_seed():
    torch.manual_seed(0)


def pixel_loops(formula, pred, target):
    """A formula of two numbers at each pixel."""
    values = [
        formula(p, t) for p, t in zip(pred.flatten().tolist(),
                                      target.flatten().tolist())
    ]
    return torch.tensor(values, dtype=torch.float64).reshape(pred.shape)


def square(p, t):
    return (p - t)**2


def focal(p, t, alpha=2, beta=4):
    """Equation 1 of CornerNet."""
    if t == 1:
        return -(1 - p)**alpha * math.log(p)
    return -(1 - t)**beta * p**alpha * math.log(1 - p)


def adaptive_wing(p, t, alpha=2.1, omega=14, epsilon=1, theta=0.5):
    """Equation 3 of the paper, with its A and C."""
    a = omega * (1 / (1 + (theta / epsilon)**(alpha - t))) * (alpha - t) * (
        (theta / epsilon)**(alpha - t - 1)) * (1 / epsilon)
    c = theta * a - omega * math.log(1 + (theta / epsilon)**(alpha - t))
    error = abs(t - p)
    if error < theta:
        return omega * math.log(1 + (error / epsilon)**(alpha - t))
    return a * error - c


@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('skip', [False, True])
@pytest.mark.parametrize('weighted, masked',
                         [*itertools.product([False, True], repeat=2)])
@pytest.mark.parametrize('loss, formula', [(KeypointMSELoss, square),
                                           (FocalHeatmapLoss, focal)])
def test_matches_loop(loss, formula, weighted, masked, skip, reduction):
    """The weight of keypoints, the mask of pixels, and empty channels."""
    pred, target = maps()
    weight = torch.tensor([[1., 0., 2.], [0., 1., 0.5]]).double()
    mask = (torch.rand(N, 1, H, W) > 0.3).double()
    mask[0, 0, 1, 2] = 0  # some peaks
    factor = torch.ones(SHAPE, dtype=torch.float64)
    for n, k, h, w in np.ndindex(*SHAPE):
        if weighted:
            factor[n, k, h, w] *= weight[n, k]
        if masked:
            factor[n, k, h, w] *= mask[n, 0, h, w]
        if skip and not target[n, k].any():
            factor[n, k, h, w] = 0
    expected = factor * pixel_loops(formula, pred, target)
    count = expected.numel()
    if loss is FocalHeatmapLoss:
        count = int(((target == 1) & (factor > 0)).sum())
        assert count
    expected = dict(
        none=expected, sum=expected.sum(), mean=expected.sum() / count)
    loss = loss(skip_empty_channel=skip, reduction=reduction)
    got = loss(pred, target, weight if weighted else None,
               mask if masked else None)
    close(got, expected[reduction])


@pytest.mark.parametrize('alpha, beta', [(2, 4), (0.5, 1), (1, 0)])
def test_focal_heatmap_exponents(alpha, beta):
    pred, target = maps()
    expected = pixel_loops(lambda p, t: focal(p, t, alpha, beta), pred, target)
    for use_sigmoid in (False, True):
        given = pred.logit() if use_sigmoid else pred
        loss = FocalHeatmapLoss(
            alpha, beta, reduction='none', use_sigmoid=use_sigmoid)
        close(loss(given, target), expected)


@pytest.mark.parametrize('topk', [1, 2, 3, 8])
def test_hard_keypoints_match_numpy_sort(topk):
    pred, target = maps()
    weight = torch.tensor([[1., 1., 1.], [0., 2., 0.5]]).double()
    errors = pixel_loops(square, pred, target).numpy().mean((2, 3))
    errors[weight == 0] = 0
    expected = np.zeros((N, K))
    for n in range(N):
        for k in np.argsort(errors[n])[::-1][:topk]:
            expected[n, k] = weight[n, k] * errors[n, k]
    loss = KeypointOHKMMSELoss(topk=topk, reduction='none')
    close(loss(pred, target, weight), torch.from_numpy(expected))
    # Fewer keypoints than topk are no error.
    close(
        KeypointOHKMMSELoss(topk=topk)(pred, target, weight).item(),
        expected.sum() / (N * min(topk, K)))


def test_hard_keypoints_teach_only_themselves():
    pred, target = maps()
    loss = KeypointOHKMMSELoss(topk=1)(pred, target)
    grad, = torch.autograd.grad(loss, pred)
    errors = (pred - target).square().mean((2, 3))
    worst = errors.argmax(dim=1)
    assert grad.abs().amax(
        (2,
         3)).gt(0).nonzero().tolist() == [[n, k]
                                          for n, k in enumerate(worst.tolist())
                                          ]
    # A missing keypoint is never among the worst.
    weight = torch.ones(N, K).scatter(1, worst[:, None], 0)
    grad, = torch.autograd.grad(
        KeypointOHKMMSELoss(topk=1)(pred, target, weight), pred)
    second = errors.topk(2).indices[:, 1]
    assert grad.abs().amax((2, 3)).argmax(dim=1).tolist() == second.tolist()


@pytest.mark.parametrize('loss', [
    KeypointOHKMMSELoss, CombinedTargetMSELoss, AdaptiveWingLoss,
    KeypointMSELoss
])
def test_weights_multiply_the_loss(loss):
    """Not the heatmaps, in which mmpose's weight of 0.5 is 0.25 or worse."""
    pred, target = maps_of(loss)
    loss = loss()
    close(loss(pred, target, torch.full((N, K), 0.5)), loss(pred, target) / 2)


def test_combined_target_matches_loop():
    pred, target = maps(3 * K)
    weight = torch.tensor([[1., 0., 2.], [0., 1., 0.5]]).double()
    expected = torch.zeros(SHAPE, dtype=torch.float64)
    for n, k, h, w in np.ndindex(*SHAPE):
        p, px, py = pred[n, 3 * k:3 * k + 3, h, w].tolist()
        t, tx, ty = target[n, 3 * k:3 * k + 3, h, w].tolist()
        expected[n, k, h,
                 w] = weight[n, k] / 2 * ((p - t)**2 + (t * px - t * tx)**2 +
                                          (t * py - t * ty)**2)
    loss = CombinedTargetMSELoss(reduction='none')
    close(loss(pred, target, weight), expected)
    close(CombinedTargetMSELoss()(pred, target, weight), expected.mean())
    with pytest.raises(ValueError, match=r'3 channels .* \(2, 4, 4, 5\)'):
        loss(pred[:, :4], target[:, :4])


def test_combined_target_of_one_pixel_keeps_samples_apart():
    """A squeeze in mmpose drops the axes of the map."""
    pred, target = torch.rand(2, 4, 6, 1, 1)
    weight = torch.tensor([[1., 0.], [1., 1.], [0., 0.], [0., 1.]])
    loss = CombinedTargetMSELoss(reduction='none')
    alone = [
        loss(*[x[n:n + 1] for x in (pred, target, weight)]) for n in range(4)
    ]
    close(loss(pred, target, weight), torch.cat(alone))


@pytest.mark.parametrize('kwargs', [
    {},
    dict(alpha=2.5, omega=8, epsilon=0.5, theta=0.7),
    dict(alpha=2, theta=0.1),
])
def test_adaptive_wing_matches_the_paper(kwargs):
    pred, target = maps()
    loss = AdaptiveWingLoss(reduction='none', **kwargs)
    far = 2 * pred - 0.5  # errors on either side of theta
    close(
        loss(far, target),
        pixel_loops(lambda p, t: adaptive_wing(p, t, **kwargs), far, target))


@pytest.mark.parametrize('target', [0.0, 0.4, 1.0])
def test_adaptive_wing_is_smooth_at_theta(target):
    """Value and slope from both sides."""
    error = torch.tensor([0.5 - 1e-9, 0.5 + 1e-9], dtype=torch.float64)
    pred = (target + error).requires_grad_()
    target = torch.full_like(error, target)
    below, above = AdaptiveWingLoss(reduction='none')(pred, target)
    close(below, above, rtol=1e-7, atol=0)
    grad, = torch.autograd.grad(below + above, pred)
    close(grad[0], grad[1], rtol=1e-7, atol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('alpha', [2, 2.1])
def test_adaptive_wing_gradient_is_finite(alpha, dtype):
    """At a perfect pixel, and where the power of the error overflows."""
    size = 6e4 if dtype == torch.float16 else 1e30
    pred = torch.tensor([0., 1., -size, size], dtype=dtype).requires_grad_()
    target = torch.tensor([0., 1., 1., 0.], dtype=dtype)
    got = AdaptiveWingLoss(alpha, reduction='none')(pred, target)
    assert torch.isfinite(got).all() and (got[:2].abs() < 1e-6).all()
    grad, = torch.autograd.grad(got.sum(), pred)
    assert torch.isfinite(grad).all() and (grad[:2] == 0).all()
    assert (grad[2:] != 0).all()
    with pytest.raises(ValueError, match='alpha must be at least 2'):
        AdaptiveWingLoss(alpha=1.5)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_focal_heatmap_of_exactly_0_and_1(value):
    """mmpose: 0 log 0 is NaN, in the value and the gradient."""
    pred = torch.full((1, 1, 1, 2), value, requires_grad=True)
    target = torch.tensor([[[[1.0, 0.0]]]])
    got = FocalHeatmapLoss()(pred, target)
    close(got, torch.tensor(-math.log(1e-12)))
    grad, = torch.autograd.grad(got, pred)
    assert torch.isfinite(grad).all()
    got = FocalHeatmapLoss()(target.clone().requires_grad_(), target)
    assert got == 0


def test_focal_heatmap_without_peaks_is_a_sum():
    pred, target = maps()
    target = 0.9 * target
    close(FocalHeatmapLoss()(pred, target),
          FocalHeatmapLoss(reduction='sum')(pred, target))
    # The number of peaks is that of what counts, also for one person.
    _, target = maps()
    weight = torch.tensor([[1., 0., 0.], [0., 0., 0.]])
    close(FocalHeatmapLoss()(pred, target, weight),
          FocalHeatmapLoss()(pred[:1, :1], target[:1, :1]))


@pytest.mark.parametrize('loss', MASKED, ids=lambda loss: loss.__name__)
def test_mask_in_the_calls_of_heads(loss):
    """By position as DEKR and CID pass it, with weights or without."""
    pred, target = maps_of(loss)
    keypoints = torch.rand(N, K).double()
    pixels = keypoints[..., None, None].expand(SHAPE)
    one = (torch.rand(N, 1, H, W) > 0.4)
    for weight, mask in itertools.product((None, keypoints, pixels),
                                          (one, one.expand(SHAPE))):
        both = mask.double() if weight is None else (mask *
                                                     pixels).contiguous()
        expected = loss()(pred, target, both)
        for dtype in (torch.bool, torch.uint8, torch.float32):
            close(loss()(pred, target, weight, mask.to(dtype)), expected)
            close(loss()(pred, target, weight, mask=mask.to(dtype)), expected)
    ignores = loss(use_target_weight=False)
    close(
        ignores(pred, target, keypoints, one),
        loss()(pred, target, None, one))
    # What is masked may hold anything.
    hole = torch.where(one, pred.detach(), math.nan).requires_grad_()
    loss()(hole, target, keypoints, one).backward()
    assert torch.isfinite(hole.grad).all()
    assert (hole.grad[~one.expand(hole.shape)] == 0).all()


@pytest.mark.parametrize('loss', MASKED, ids=lambda loss: loss.__name__)
def test_wrong_masks(loss):
    pred, target = maps_of(loss)
    loss, mask = loss(), torch.ones(N, 1, H, W)
    with pytest.raises(ValueError, match='is a mask of shape .* got mask='):
        loss(pred, target, None, mask, mask=mask)
    with pytest.raises(ValueError, match=r'mask of shape \(2, 2, 4, 5\)'):
        loss(pred, target, None, mask.repeat(1, 2, 1, 1))
    with pytest.raises(ValueError, match='mask must not be negative'):
        loss(pred, target, None, -mask)
    with pytest.raises(ValueError, match='needs a weight'):
        type(loss)(use_target_weight=True)(pred, target, None, mask)


def test_each_loss_with_a_mask_is_tested():
    found = [
        x for x in vars(losses).values()
        if isinstance(x, type) and issubclass(x, HeatmapLoss)
    ]
    assert set(found) == {*MASKED, HeatmapLoss}


@pytest.mark.slow
@pytest.mark.parametrize('loss', [KeypointMSELoss, FocalHeatmapLoss, MSELoss])
def test_mask_compiles_to_one_graph(loss):
    from helpers import needs_dynamo
    needs_dynamo(loss)
    torch._dynamo.reset()
    pred, target = maps()
    mask, loss = torch.rand(N, 1, H, W) > 0.4, loss()
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    weight = torch.ones(N, K)
    close(
        compiled(pred, target, weight, mask), loss(pred, target, weight, mask))


def test_target_weight_is_used():
    """mmpose stores the argument, and applies any weight."""
    pred, target = maps()
    weight = torch.tensor([[1., 0., 0.], [0., 1., 0.]])
    plain, weighted = [
        KeypointMSELoss(use_target_weight=use)(pred, target, weight)
        for use in (False, True)
    ]
    close(plain, (pred - target).square().mean())
    close(weighted, (pred - target).square()[weight > 0].sum() / pred.numel())


def test_maps_of_any_number_of_axes():
    """InterNet has volumes, other users lines; numbers are no maps."""
    for shape in ((2, 3, 4), (2, 3, 4, 5, 6)):
        pred, target = torch.rand(2, *shape)
        weight = torch.rand(2, 3)
        loss = KeypointMSELoss(skip_empty_channel=True, reduction='none')
        square = (pred - target).square().flatten(2)
        close(
            loss(pred, target, weight).flatten(2), square * weight[..., None])
        close(
            KeypointOHKMMSELoss(topk=3, reduction='none')(pred, target),
            square.mean(-1))
    for cls in (KeypointMSELoss, KeypointOHKMMSELoss, FocalHeatmapLoss):
        with pytest.raises(ValueError, match=r'\(N, K, ...\), got \(2, 3\)'):
            cls()(torch.rand(2, 3), torch.rand(2, 3))


NUMBERS = [
    *MASKED, KeypointOHKMMSELoss, losses.L1Loss, losses.SmoothL1Loss,
    losses.BalancedL1Loss, losses.DiceLoss, losses.BalancedBCELoss
]


@pytest.mark.parametrize('dtype', [
    torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16,
    torch.float64
])
@pytest.mark.parametrize('loss', NUMBERS, ids=lambda loss: loss.__name__)
def test_targets_of_any_dtype(loss, dtype):
    """CenterNetUpdateHead, for one, passes heatmaps of integers."""
    pred = maps_of(loss)[0].detach().float().requires_grad_()
    target = (torch.rand_like(pred) > 0.7).float()
    expected = loss()(pred, target)
    got = loss()(pred, target.to(dtype))
    assert got.dtype == torch.float32
    close(got, expected)
    close(torch.autograd.grad(got, pred), torch.autograd.grad(expected, pred))
