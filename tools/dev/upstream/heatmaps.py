"""Heatmaps and corner embeddings."""
from __future__ import annotations
import math
from typing import Tuple

import torch
from mmdet.models import losses as mmdet
from mmpose.models import losses as mmpose
from mmpose.models.losses.heatmap_loss import (CombinedTargetMSELoss,
                                               FocalHeatmapLoss)
from torch import Tensor
from upstream import Shown, formula_of, gradient, outcome, shows, syncs

import mmlosses.losses as mmlosses


@shows(
    'GaussianFocalLoss',
    mmdet.GaussianFocalLoss,
    'confident errors have no gradient',
    'for p near 1, -log(1 - p) is the logit, with gradient 1',
    tests=['test_heatmap.py::test_heatmap_gradient_lives_at_any_logit'])
def heatmap_gradient() -> Shown:
    """The sigmoid rounds to 1: a false peak is never corrected."""
    logit, target = torch.tensor([20.]), torch.tensor([0.])
    stock = gradient(lambda x: mmdet.GaussianFocalLoss()(x.sigmoid(), target),
                     logit)
    ours = gradient(
        lambda x: mmlosses.GaussianFocalLoss(use_sigmoid=True)(x, target),
        logit)
    right = 1.0
    return stock, ours, right


@shows(
    'GaussianFocalLoss',
    mmdet.GaussianFocalLoss,
    'infinite for 1 in float16',
    'the stock loss in float32, -log(1e-12)',
    tests=['test_heatmap.py::test_heatmap_of_exactly_0_and_1'])
def heatmap_float16() -> Shown:
    """Its eps of 1e-12 is 0 in float16, which autocast may return."""
    pred, target = torch.tensor([1.]).half(), torch.tensor([0.]).half()
    stock = mmdet.GaussianFocalLoss()(pred, target)
    ours = mmlosses.GaussianFocalLoss()(pred, target)
    right = -math.log(1e-12)
    return stock, ours, right


@shows('GaussianFocalLoss', mmdet.GaussianFocalLoss,
       'pos_inds drops the weight', 'all weights are 0')
def heatmap_weight() -> Shown:
    """With ``pos_inds`` the weight is accepted but not used."""
    pred, target = torch.full((2, 3), 0.4), torch.full((2, 3), 0.5)
    options = dict(
        pos_inds=torch.tensor([1]),
        pos_labels=torch.tensor([2]),
        weight=torch.zeros(2, 3),
        avg_factor=1)
    stock = mmdet.GaussianFocalLoss()(pred, target, **options)
    ours = mmlosses.GaussianFocalLoss()(pred, target, **options)
    right = 0.0
    return stock, ours, right


@shows('GaussianFocalLoss', mmdet.GaussianFocalLoss,
       'gamma=0 counts peaks as negatives',
       'a peak has only the first case of the equation')
def heatmap_gamma() -> Shown:
    """(1 - 1) ** 0 is 1, so a peak also gets the loss of a negative."""
    pred, target = torch.tensor([0.9]), torch.tensor([1.])
    stock = mmdet.GaussianFocalLoss(gamma=0.0)(pred, target)
    ours = mmlosses.GaussianFocalLoss(gamma=0.0)(pred, target)
    right = -(1 - 0.9)**2 * math.log(0.9)
    return stock, ours, right


@shows(
    'GaussianFocalLoss',
    mmdet.GaussianFocalLoss,
    'explodes for images without objects',
    'far from all objects, the target is 0: -p ** 2 * log(1 - p)',
    tests=['test_heatmap.py::test_images_without_objects'])
def heatmap_of_no_objects() -> Shown:
    """CenterNetUpdateHead fills their targets with the number of classes.

    The weight of such a negative is (1 - 80) ** 4, or 39 million.
    """
    pred, target = torch.full((5, 80), 0.1), torch.full((5, 80), 80)
    stock = mmdet.GaussianFocalLoss()(pred, target)
    ours = mmlosses.GaussianFocalLoss()(pred, target)
    right = -0.1**2 * math.log(1 - 0.1)
    return stock, ours, right


@shows('FocalHeatmapLoss', FocalHeatmapLoss, 'NaN for a perfect peak',
       '(1 - 1) ** 2 * log(1)')
def heatmap_nan() -> Shown:
    """The logarithm of the other case is -inf, multiplied by 0."""
    pred, target = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    stock = FocalHeatmapLoss()(pred, target)
    ours = mmlosses.FocalHeatmapLoss()(pred, target)
    right = 0.0
    return stock, ours, right


@shows('FocalHeatmapLoss', FocalHeatmapLoss, 'weights cancel out',
       'half of -(1 - 0.5) ** 2 * log(0.5)')
def heatmap_weight_cancels() -> Shown:
    """It divides by the sum of the weights of the peaks."""
    pred, target = torch.full((1, 1, 1, 1), 0.5), torch.ones(1, 1, 1, 1)
    weight = torch.tensor([[0.5]])
    stock = FocalHeatmapLoss()(pred, target, weight)
    ours = mmlosses.FocalHeatmapLoss()(pred, target, weight)
    right = -0.5 * (1 - 0.5)**2 * math.log(0.5)
    return stock, ours, right


@shows('FocalHeatmapLoss', FocalHeatmapLoss, 'waits for the GPU',
       'no value decides what is computed')
def heatmap_sync() -> Shown:
    """It asks on the host if there are peaks."""
    pred, target = torch.full((1, 1, 2, 2), 0.5), torch.ones(1, 1, 2, 2)
    stock = syncs(FocalHeatmapLoss(), pred, target)
    ours = syncs(mmlosses.FocalHeatmapLoss(), pred, target)
    right = 'no sync'
    return stock, ours, right


@shows('KeypointMSELoss', mmpose.KeypointMSELoss, 'NaN at weight 0',
       'all weights are 0')
def heatmap_nan_at_weight_0() -> Shown:
    """0 * NaN is NaN."""
    pred, target = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), math.nan)
    weight = torch.zeros(1, 1)
    stock = mmpose.KeypointMSELoss()(pred, target, weight)
    ours = mmlosses.KeypointMSELoss()(pred, target, weight)
    right = 0.0
    return stock, ours, right


@shows('KeypointMSELoss', mmpose.KeypointMSELoss, 'infinite in float16',
       'the square of 300')
def heatmap_square_float16() -> Shown:
    """Peaks of MSPN's heatmaps are 255: errors of 256 overflow."""
    pred = torch.full((1, 1, 2, 2), 300.).half()
    target = torch.zeros(1, 1, 2, 2).half()
    stock = mmpose.KeypointMSELoss()(pred, target).float()
    ours = mmlosses.KeypointMSELoss()(pred, target)
    right = 90000.0
    return stock, ours, right


@shows('KeypointOHKMMSELoss', mmpose.KeypointOHKMMSELoss,
       'fails for fewer than topk keypoints',
       'all 5 keypoints count, each with 1 ** 2')
def hard_keypoints_of_few() -> Shown:
    """``topk`` is 8 by default: hands and faces of few points fail."""
    pred, target = torch.ones(1, 5, 2, 2), torch.zeros(1, 5, 2, 2)
    weight = torch.ones(1, 5)
    stock = outcome(lambda: mmpose.KeypointOHKMMSELoss()(pred, target, weight))
    ours = mmlosses.KeypointOHKMMSELoss()(pred, target, weight)
    right = 1.0
    return stock, ours, right


@shows('KeypointOHKMMSELoss', mmpose.KeypointOHKMMSELoss, 'squares the weight',
       '0.5 * 1 ** 2')
def hard_keypoints_weight() -> Shown:
    """The weight multiplies prediction and target."""
    pred, target = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    weight = torch.tensor([[0.5]])
    stock = mmpose.KeypointOHKMMSELoss(
        use_target_weight=True, topk=1)(pred, target, weight)
    ours = mmlosses.KeypointOHKMMSELoss(topk=1)(pred, target, weight)
    right = 0.5
    return stock, ours, right


@shows(
    'CombinedTargetMSELoss',
    CombinedTargetMSELoss,
    'mixes the samples of maps of one pixel',
    'half of the mean of 1 ** 2 and 0',
    tests=[
        'test_heatmap_keypoints.py::'
        'test_combined_target_of_one_pixel_keeps_samples_apart'
    ])
def combined_target_of_one_pixel() -> Shown:
    """A squeeze drops the pixel: each weight meets each sample."""
    pred, target = torch.ones(2, 3, 1, 1), torch.ones(2, 3, 1, 1)
    pred[0, 0], weight = 2, torch.tensor([[1.], [0.]])
    pred[1, 0] = 5
    stock = CombinedTargetMSELoss(use_target_weight=True)(pred, target, weight)
    ours = mmlosses.CombinedTargetMSELoss()(pred, target, weight)
    right = (1.0**2 + 0) / 2 / 2
    return stock, ours, right


@shows('AdaptiveWingLoss', mmpose.AdaptiveWingLoss,
       'a weight changes the exponent',
       'half of 14 * log(1 + 0.2 ** (2.1 - 1))')
def adaptive_wing_weight() -> Shown:
    """The weight multiplies prediction and target."""
    pred, target = torch.full((1, 1, 1, 1), 0.8), torch.ones(1, 1, 1, 1)
    weight = torch.tensor([[0.5]])
    stock = mmpose.AdaptiveWingLoss(use_target_weight=True)(pred, target,
                                                            weight)
    ours = mmlosses.AdaptiveWingLoss()(pred, target, weight)
    right = 0.5 * 14 * math.log(1 + 0.2**(2.1 - 1))
    return stock, ours, right


@shows(
    'KeypointMSELoss', mmpose.KeypointMSELoss,
    'use_target_weight changes nothing',
    'False ignores the weights: (1 + 1) / 2; True applies them: (1 + 0) / 2')
def dead_target_weight() -> Shown:
    """The argument is stored but never read."""
    pred, target = torch.ones(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    weight = torch.tensor([[1., 0.]])
    stock = [
        mmpose.KeypointMSELoss(use_target_weight=use)(pred, target, weight)
        for use in (False, True)
    ]
    ours = [
        mmlosses.KeypointMSELoss(use_target_weight=use)(pred, target, weight)
        for use in (False, True)
    ]
    right = [1.0, 0.5]
    return stock, ours, right


@shows('AssociativeEmbeddingLoss', mmdet.AssociativeEmbeddingLoss,
       'takes channels of a tag for objects',
       'with one object, there is no pair to push apart')
def tags_of_two_channels() -> Shown:
    """It takes a tag of two channels for two objects and pushes them apart."""
    tags = torch.full((1, 2, 4, 4), 0.3)
    match = [[[[0, 0], [3, 3]]]]
    stock = mmdet.AssociativeEmbeddingLoss()(tags, tags, match)[1]
    ours = mmlosses.AssociativeEmbeddingLoss()(tags, tags, match)[1]
    right = 0.0
    return stock, ours, right


@shows('AssociativeEmbeddingLoss', mmpose.AssociativeEmbeddingLoss,
       'a constant push from themselves',
       'the three tags are 100 apart, beyond the margin')
def tags_pushed_from_themselves() -> Shown:
    """Each object is pushed from itself: a constant 1 / (N - 1)."""
    tags = torch.tensor([0., 100., 200.]).view(1, 1, 1, 3)
    indices = torch.tensor([[[[0, 1]], [[1, 1]], [[2, 1]]]])
    match = [[[[0, n], [0, n]] for n in range(3)]]
    stock = mmpose.AssociativeEmbeddingLoss(push_loss_factor=1.0)(tags,
                                                                  indices)[1]
    ours = mmlosses.AssociativeEmbeddingLoss(push_weight=1.0)(tags, tags,
                                                              match)[1]
    right = 0.0
    return stock, ours, right


@shows('AssociativeEmbeddingLoss', mmpose.AssociativeEmbeddingLoss,
       'no gradient without people',
       'all tags get the gradient 0, as DistributedDataParallel needs')
def tags_of_nobody() -> Shown:
    """Without people the loss is detached from the graph; backward fails."""
    tags = torch.zeros(1, 1, 2, 2)
    nobody = torch.zeros(1, 0, 1, 2, dtype=torch.long)
    stock = outcome(lambda: gradient(
        lambda x: mmpose.AssociativeEmbeddingLoss()(x, nobody)[0], tags))
    ours = gradient(
        lambda x: mmlosses.AssociativeEmbeddingLoss()(x, tags, [[]])[0], tags)
    right = torch.zeros(1, 1, 2, 2)
    return stock, ours, right


@formula_of('CornerNet')
def cornernet_pull_push(tag0: Tensor, tag1: Tensor,
                        mask: Tensor) -> Tuple[Tensor, Tensor]:
    """Pull and push of princeton-vl/CornerNet, from its formula.

    The push sums over all pairs, also of an object with itself, and subtracts
    1 / N from each. A pair has the sum 2 of two masks.
    """
    number = mask.sum(dim=1, keepdim=True).float()
    tag0, tag1 = tag0.squeeze(), tag1.squeeze()
    mean = (tag0 + tag1) / 2
    pull = ((tag0 - mean)**2 + (tag1 - mean)**2) / (number + 1e-4)
    pairs = (mask.unsqueeze(1) + mask.unsqueeze(2)).eq(2)
    number = number.unsqueeze(2)
    near = (1 - (mean.unsqueeze(1) - mean.unsqueeze(2)).abs()).relu()
    push = (near - 1 / (number + 1e-4)) / (number * (number - 1) + 1e-4)
    return pull[mask == 1].sum(), push[pairs].sum()


@shows('AssociativeEmbeddingLoss', cornernet_pull_push,
       'no push for a bool mask',
       'two images, each with the pair (0, 0.4) both ways: 1 - 0.4')
def push_bool() -> Shown:
    """The sum of two bools is a bool, which never equals 2."""
    tags = torch.tensor([[[0.], [0.4]], [[0.], [0.4]]])
    mask = torch.tensor([[True, True], [True, True]])
    stock = cornernet_pull_push(tags, tags, mask)[1]
    ours = mmlosses.AssociativeEmbeddingLoss(push_weight=1.0)(tags, tags,
                                                              mask)[1]
    right = 2 * (1 - 0.4)
    return stock, ours, right


@shows('AssociativeEmbeddingLoss', cornernet_pull_push,
       'push of 1 for one object',
       'with one object, there is no pair to push apart')
def push_alone() -> Shown:
    """For one object, the self-push to subtract is divided by 1e-4."""
    tags = torch.tensor([[[0.3], [0.]], [[0.7], [0.]]])
    mask = torch.tensor([[1, 0], [1, 0]], dtype=torch.uint8)
    stock = cornernet_pull_push(tags, tags, mask)[1]
    ours = mmlosses.AssociativeEmbeddingLoss(push_weight=1.0)(tags, tags,
                                                              mask)[1]
    right = 0.0
    return stock, ours, right


@shows('AssociativeEmbeddingLoss', cornernet_pull_push,
       'fails for a batch of one', 'the pair (0, 0.4) both ways: 1 - 0.4')
def push_batch_of_one() -> Shown:
    """A squeeze drops the batch axis."""
    tags = torch.tensor([[[0.], [0.4]]])
    mask = torch.tensor([[1, 1]], dtype=torch.uint8)
    stock = outcome(lambda: cornernet_pull_push(tags, tags, mask)[1])
    ours = mmlosses.AssociativeEmbeddingLoss(push_weight=1.0)(tags, tags,
                                                              mask)[1]
    right = 1 - 0.4
    return stock, ours, right


@formula_of('CornerNet')
def cornernet_peak_loss(logit: Tensor) -> Tensor:
    """The loss of a peak in princeton-vl/CornerNet, from its formula."""
    pred = logit.sigmoid().clamp(1e-4, 1 - 1e-4)
    return -(1 - pred)**2 * pred.log()


@shows('GaussianFocalLoss', cornernet_peak_loss,
       'missed peaks have no gradient',
       'for small p, -log(p) is minus the logit, with gradient -1')
def peak_gradient() -> Shown:
    """Below a logit of -9.2 the clamp cuts the gradient of a peak."""
    logit, target = torch.tensor([-15.]), torch.tensor([1.])
    stock = gradient(cornernet_peak_loss, logit)
    ours = gradient(
        lambda x: mmlosses.GaussianFocalLoss(use_sigmoid=True)(x, target),
        logit)
    right = -1.0
    return stock, ours, right


@shows('GaussianFocalLoss', cornernet_peak_loss,
       'the loss of a peak is at most 9.2',
       'for small p, -log(p) is minus the logit')
def peak_value() -> Shown:
    """The clamp gives all badly missed peaks the same loss."""
    logit, target = torch.tensor([-15.]), torch.tensor([1.])
    stock = cornernet_peak_loss(logit)
    ours = mmlosses.GaussianFocalLoss(use_sigmoid=True)(logit, target)
    right = 15.0
    return stock, ours, right
