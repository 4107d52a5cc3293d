"""Boxes."""
from __future__ import annotations
import math

import torch
import torchvision.ops
from mmdet.models import losses as mmdet
from upstream import Shown, gradient, kind, outcome, shows, syncs

import mmlosses.losses as mmlosses


@shows(
    'SIoULoss',
    mmdet.SIoULoss,
    'distance cost of the wrong sign',
    'the formula of the paper, which grows with the distance',
    tests=['test_boxes.py::test_mmdet_siou_pushes_boxes_apart'])
def siou_sign() -> Shown:
    """The loss falls as boxes move apart, so training pushes them apart."""
    moves = [10., 20., 40.]
    target = torch.tensor([[0., 0., 10., 10.]] * 3)
    pred = target + torch.tensor([[s, s / 2, s, s / 2] for s in moves])
    stock = mmdet.SIoULoss(reduction='none')(pred, target)
    ours = mmlosses.SIoULoss(reduction='none')(pred, target)
    # No overlap, equal shapes; tan(angle) = 1 / 2, so the angle cost is 0.8.
    right = [
        1 + 0.5 *
        (2 - math.exp(-1.2 * (s / (10 + s))**2) - math.exp(-1.2 *
                                                           (s / (20 + s))**2))
        for s in moves
    ]
    return stock, ours, right


@shows('SIoULoss', mmdet.SIoULoss, 'gradient pushes boxes apart',
       'a box to the right must move left: the gradient is positive')
def siou_gradient() -> Shown:
    """Gradient descent moves a box away from its target."""
    target = torch.tensor([[0., 0., 10., 10.]])
    pred = target + torch.tensor([20., 10., 20., 10.])

    def moves(loss: torch.nn.Module) -> str:
        grad = gradient(lambda box: loss(box, target), pred)
        return 'together' if grad[0, 0] + grad[0, 2] > 0 else 'apart'

    stock = moves(mmdet.SIoULoss())
    ours = moves(mmlosses.SIoULoss())
    right = 'together'
    return stock, ours, right


@shows(
    'CIoULoss',
    mmdet.CIoULoss,
    'NaN on a perfect box',
    'a perfect prediction has the loss 0',
    tests=['test_boxes.py::test_mmdet_ciou_is_nan_on_a_perfect_box'])
def ciou_nan() -> Shown:
    """The weight of the aspect ratio is 0 / 0 where the IoU is 1."""
    box = torch.tensor([[0., 0., 10., 10.]])
    stock = mmdet.CIoULoss()(box, box)
    ours = mmlosses.CIoULoss()(box, box)
    right = 0.0
    return stock, ours, right


@shows('CIoULoss', mmdet.CIoULoss, 'NaN gradient on a perfect box',
       'the next step must not make the weights NaN')
def ciou_nan_gradient() -> Shown:
    """One perfect box makes every weight of the model NaN."""
    box = torch.tensor([[0., 0., 10., 10.]])
    stock = kind(gradient(lambda x: mmdet.CIoULoss()(x, box), box))
    ours = kind(gradient(lambda x: mmlosses.CIoULoss()(x, box), box))
    right = 'finite'
    return stock, ours, right


@shows('CIoULoss', torchvision.ops.complete_box_iou_loss,
       'aspect ratio without a threshold',
       'the paper gives it no weight where the IoU is below 0.5')
def ciou_threshold() -> Shown:
    """It learns the aspect ratio of boxes that hardly overlap."""
    pred = torch.tensor([[0., 0., 20., 5.]])
    target = torch.tensor([[0., 0., 10., 20.]])
    stock = torchvision.ops.complete_box_iou_loss(pred, target)[0]
    ours = mmlosses.CIoULoss()(pred, target)
    # IoU 50 / 250, centres (10, 2.5) and (5, 10), enclosed by 20 x 20.
    right = 1 - 50 / 250 + (5**2 + 7.5**2) / (20**2 + 20**2)
    return stock, ours, right


@shows(
    'EIoULoss',
    mmdet.EIoULoss,
    "another paper's EIoU",
    'Efficient IoU: 1 - IoU + centre / diagonal + width + height',
    tests=['test_boxes.py::test_mmdet_eiou_is_of_another_paper'])
def eiou_paper() -> Shown:
    """It is Extended IoU, not the Efficient IoU that users look for."""
    pred = torch.tensor([[0., 0., 10., 9.]])
    target = torch.tensor([[0., 0., 10., 10.]])
    stock = mmdet.EIoULoss()(pred, target)
    ours = mmlosses.EIoULoss()(pred, target)
    right = 1 - 0.9 + 0.5**2 / (10**2 + 10**2) + 0 + 1**2 / 10**2
    return stock, ours, right


@shows(
    'DIoULoss',
    mmdet.DIoULoss,
    'float16 overflows at 600 pixels',
    'the same boxes in float64, by the formula',
    tests=['test_boxes.py::test_mmdet_overflows_at_600_pixels'])
def diou_float16() -> Shown:
    """The area of a large box overflows, so the IoU is silently 0."""
    target = torch.tensor([[0., 0., 600., 600.]])
    pred = torch.tensor([[20., 10., 620., 610.]]).half()
    stock = mmdet.DIoULoss()(pred, target)
    ours = mmlosses.DIoULoss()(pred, target)
    overlap = 580 * 590
    right = (1 - overlap / (2 * 600**2 - overlap) + (20**2 + 10**2) /
             (620**2 + 610**2))
    return stock, ours, right


@shows(
    'CIoULoss',
    mmdet.CIoULoss,
    'float16 overflows at 600 pixels',
    'both are squares, so this is the DIoU loss in float64',
    tests=['test_boxes.py::test_mmdet_overflows_at_600_pixels'])
def ciou_float16() -> Shown:
    """The area of a large box overflows, so the IoU is silently 0."""
    target = torch.tensor([[0., 0., 600., 600.]])
    pred = torch.tensor([[20., 10., 620., 610.]]).half()
    stock = mmdet.CIoULoss()(pred, target)
    ours = mmlosses.CIoULoss()(pred, target)
    overlap = 580 * 590
    right = (1 - overlap / (2 * 600**2 - overlap) + (20**2 + 10**2) /
             (620**2 + 610**2))
    return stock, ours, right


@shows('SIoULoss', mmdet.SIoULoss, 'float16 overflows at 600 pixels',
       'the formula of the paper in float64')
def siou_float16() -> Shown:
    """The area of a large box overflows, so the IoU is silently 0."""
    target = torch.tensor([[0., 0., 600., 600.]])
    pred = torch.tensor([[20., 10., 620., 610.]]).half()
    stock = mmdet.SIoULoss(neg_gamma=True)(pred, target)
    ours = mmlosses.SIoULoss()(pred, target)
    overlap = 580 * 590
    # The angle cost is 0.8 again.
    distance = (2 - math.exp(-1.2 * (20 / 620)**2) - math.exp(-1.2 *
                                                              (10 / 610)**2))
    right = 1 - overlap / (2 * 600**2 - overlap) + 0.5 * distance
    return stock, ours, right


@shows('GIoULoss', mmdet.GIoULoss, '-inf for boxes in float16',
       'the same boxes in float64, by the formula')
def giou_float16() -> Shown:
    """Only the prediction is cast up, so the area of the target overflows."""
    target = torch.tensor([[0., 0., 600., 600.]]).half()
    pred = torch.tensor([[20., 10., 620., 610.]]).half()
    stock = mmdet.GIoULoss()(pred, target)
    ours = mmlosses.GIoULoss()(pred, target)
    union = 2 * 600**2 - 580 * 590
    right = 1 - 580 * 590 / union + (620 * 610 - union) / (620 * 610)
    return stock, ours, right


@shows('IoULoss', mmdet.IoULoss, 'no overlap for boxes in float16',
       'the same boxes in float64, by the formula')
def iou_float16() -> Shown:
    """Only the prediction is cast up, so the area of the target overflows."""
    target = torch.tensor([[0., 0., 600., 600.]]).half()
    pred = torch.tensor([[20., 10., 620., 610.]]).half()
    stock = mmdet.IoULoss()(pred, target)
    ours = mmlosses.IoULoss()(pred, target)
    right = -math.log(580 * 590 / (2 * 600**2 - 580 * 590))
    return stock, ours, right


@shows('IoULoss', mmdet.IoULoss, 'IoU rounded before the logarithm',
       'minus the logarithm of the IoU, 1 - 0.015625 / 100, in float64')
def iou_rounded() -> Shown:
    """The IoU is cast back to float16 first: near 1 it has steps of 0.0005."""
    target = torch.tensor([[0., 0., 100., 100.]])
    pred = torch.tensor([[0.015625, 0., 100., 100.]]).half()
    stock = mmdet.IoULoss()(pred, target)
    ours = mmlosses.IoULoss()(pred, target)
    right = -math.log(1 - 0.015625 / 100)
    return stock, ours, right


@shows('GIoULoss', mmdet.GIoULoss, 'a weight synchronises with the host',
       'the result does not depend on whether a weight is above 0')
def boxes_sync() -> Shown:
    """Every weighted call checks on the host if any weight is above 0.

    The IoU, DIoU, CIoU, EIoU and SIoU losses of mmdet do the same.
    """
    args = [torch.rand(8, 4), torch.rand(8, 4), torch.rand(8)]
    names = ['IoU', 'GIoU', 'DIoU', 'CIoU', 'EIoU', 'SIoU']
    stock = [syncs(getattr(mmdet, f'{name}Loss')(), *args) for name in names]
    ours = [syncs(getattr(mmlosses, f'{name}Loss')(), *args) for name in names]
    right = 'no sync'
    return stock, ours, right


@shows('GIoULoss', mmdet.GIoULoss, "a scalar for reduction 'none'",
       "'none' returns one loss per box, which samplers index")
def boxes_none() -> Shown:
    """If no weight is above 0, the unreduced loss is a scalar."""
    boxes, weight = torch.tensor([[0., 0., 1., 1.]] * 3), torch.zeros(3)
    stock = mmdet.GIoULoss(reduction='none')(boxes, boxes, weight).shape
    ours = mmlosses.GIoULoss(reduction='none')(boxes, boxes, weight).shape
    right = (3, )
    return stock, ours, right


@shows('GIoULoss', mmdet.GIoULoss, 'NaN where the weight is 0',
       'the loss of the other box, 1 - 80 / 100, over 2 boxes')
def boxes_nan() -> Shown:
    """A NaN or infinity in a box of weight 0 makes the loss NaN."""
    target = torch.tensor([[0., 0., 10., 10.]] * 2)
    pred = torch.tensor([[0., 0., 10., 8.], [0., 0., math.inf, 10.]])
    weight = torch.tensor([1., 0.])
    stock = mmdet.GIoULoss()(pred, target, weight)
    ours = mmlosses.GIoULoss()(pred, target, weight)
    right = (1 - 80 / 100) / 2
    return stock, ours, right


@shows(
    'BoundedIoULoss',
    mmdet.BoundedIoULoss,
    'explodes at a side below 0',
    'smooth L1, beta 0.2, of an overlap of about 0',
    tests=[
        'test_boxes.py::'
        'test_bounded_iou_of_the_truth_and_of_swapped_corners'
    ])
def bounded_negative_side() -> Shown:
    """A width of -0.0011 pixels is divided by: the loss is 300001."""
    target = torch.tensor([[0., 0., 30., 20.]])
    pred = torch.tensor([[0., 0., -0.0011, 20.]])
    stock = mmdet.BoundedIoULoss(reduction='none')(pred, target)[0, 2]
    ours = mmlosses.BoundedIoULoss(reduction='none')(pred, target)[0, 2]
    right = 1 - 0.2 / 2 + 0.0011 / 30.001
    return stock, ours, right


@shows('BoundedIoULoss', mmdet.BoundedIoULoss, 'keeps swapped corners swapped',
       'the right side must move right: the gradient is negative')
def bounded_swapped() -> Shown:
    """A box with x2 < x1 grows the wrong way."""
    target = torch.tensor([[0., 0., 30., 20.]])
    pred = torch.tensor([[0., 0., -30., 20.]])

    def moves(loss: torch.nn.Module) -> str:
        grad = gradient(lambda box: loss(box, target), pred)
        return 'right' if grad[0, 2] < 0 else 'left'

    stock = moves(mmdet.BoundedIoULoss())
    ours = moves(mmlosses.BoundedIoULoss())
    right = 'right'
    return stock, ours, right


@shows(
    'BoundedIoULoss',
    mmdet.BoundedIoULoss,
    'refuses a weight of each box',
    'the mean of 8 numbers of which those of one box are doubled',
    tests=['test_boxes.py::test_bounded_iou_weights'])
def bounded_weight() -> Shown:
    """Other box losses take (N,), and heads such as FCOS pass it."""
    target = torch.tensor([[0., 0., 30., 20.]] * 2)
    pred = target + torch.tensor([3., 0., 3., 0.])
    weight = torch.tensor([1., 2.])
    stock = outcome(lambda: mmdet.BoundedIoULoss()(pred, target, weight))
    ours = mmlosses.BoundedIoULoss()(pred, target, weight)
    # The target is moved by twice 3 pixels: an overlap of 24 in 36.
    right = (1 + 2) * (1 - 24 / 36.001 - 0.2 / 2) / 8
    return stock, ours, right


@shows('ExtendedIoULoss', mmdet.EIoULoss, 'NaN in float16 at 600 pixels',
       'the smooth form of 1 - IoU, in float64')
def extended_float16() -> Shown:
    """The areas overflow, and infinity minus infinity is NaN."""
    target = torch.tensor([[0., 0., 600., 600.]]).half()
    pred = torch.tensor([[20., 10., 620., 610.]]).half()
    stock = mmdet.EIoULoss()(pred, target)
    ours = mmlosses.ExtendedIoULoss()(pred, target)
    overlap = 580 * 590
    right = (1 - overlap / (2 * 600**2 - overlap))**2 / (2 * 0.1)
    return stock, ours, right
