"""Distillation."""
from __future__ import annotations
import math

import torch
from mmdet.models.losses import KnowledgeDistillationKLDivLoss
from mmpose.models.losses.fea_dis_loss import FeaLoss
from mmpose.models.losses.logit_dis_loss import KDLoss
from mmseg.models.losses.kldiv_loss import KLDivLoss
from upstream import Shown, outcome, shows

import mmlosses.losses as mmlosses


@shows('KnowledgeDistillationKLDivLoss', KnowledgeDistillationKLDivLoss,
       'shrinks with the number of classes',
       'Hinton: the divergence, log(2) for each of both')
def distillation_classes() -> Shown:
    """It averages over classes, of which a teacher may rule out most.

    Ours is a drop-in by default, and right with ``bin_reduction='sum'``.
    """
    stock, ours, right = [], [], []
    for classes in (2, 80):
        pred, teacher = torch.full((2, 1, classes), -100.0)
        pred[:, :2], teacher[:, 0] = 0, 0
        stock.append(KnowledgeDistillationKLDivLoss(T=1)(pred, teacher))
        loss = mmlosses.KnowledgeDistillationKLDivLoss(
            T=1, bin_reduction='sum')
        ours.append(loss(pred, teacher))
        right.append(math.log(2))
    return stock, ours, right


@shows('KnowledgeDistillationKLDivLoss', KnowledgeDistillationKLDivLoss,
       'NaN where the weight is 0', 'the other sample agrees: 0')
def distillation_nan() -> Shown:
    """A NaN in a sample of weight 0 makes the loss NaN."""
    pred = torch.tensor([[1., 2.], [math.nan, 0.]])
    weight = torch.tensor([1., 0.])
    stock = KnowledgeDistillationKLDivLoss()(pred, pred, weight)
    ours = mmlosses.KnowledgeDistillationKLDivLoss()(pred, pred, weight)
    right = 0.0
    return stock, ours, right


@shows('KLDivLoss', KLDivLoss, 'takes probabilities for logarithms',
       'student and teacher agree: 0',
       ['test_distillation.py::test_kl_div_loss_matches_loops'])
def kl_probabilities() -> Shown:
    """``F.kl_div`` expects log-probabilities, so the loss is negative."""
    scores = torch.tensor([[1., 2.]])
    stock = KLDivLoss()(scores, scores)[0]
    ours = mmlosses.KLDivLoss()(scores, scores)
    right = 0.0
    return stock, ours, right


@shows('KDLoss', KDLoss, 'ignores its weight',
       'the second keypoint has weight 0: log(2) for each axis, over 2')
def kd_weight() -> Shown:
    """Its argument ``target_weight`` has no effect.

    Ours is a drop-in by default, since DWPose wants invisible keypoints too,
    and applies it with ``use_target_weight=True``.
    """
    pred = torch.zeros(1, 2, 2)
    teacher = torch.tensor([[[0., -100.], [0., -100.]]])
    args = (pred, pred), (teacher, teacher), 1.0, torch.tensor([[1., 0.]])
    stock = KDLoss('loss_logit', True)(*args)
    ours = mmlosses.KDLoss(use_target_weight=True)(*args)
    right = 2 * math.log(2) / 2
    return stock, ours, right


@shows('KDLoss', KDLoss, 'fails for an empty batch',
       'the mean of nothing is 0')
def kd_empty() -> Shown:
    """It reshapes scores of no sample to a size that it cannot infer."""
    pred = torch.zeros(0, 2, 4)
    args = (pred, pred), (pred, pred), 1.0, torch.zeros(0, 2)
    stock = outcome(lambda: KDLoss('loss_logit', True)(*args))
    ours = mmlosses.KDLoss()(*args)
    right = 0.0
    return stock, ours, right


@shows('FeaLoss', FeaLoss, 'infinite in float16',
       '7e-5 * 40 ** 2 for each of 2048 numbers')
def fea_float16() -> Shown:
    """It sums the squares of all maps before the factor of 7e-5."""
    student = torch.full((1, 8, 16, 16), 20.0).half()
    stock = FeaLoss('loss_fea', True, 8, 8)(student, -student)
    ours = mmlosses.FeaLoss('loss_fea', True, 8, 8)(student, -student)
    right = 7e-5 * 2048 * 40**2
    return stock, ours, right


@shows('FeaLoss', FeaLoss, 'broadcasts maps of other sizes',
       'maps of different sizes cannot be compared')
def fea_broadcast() -> Shown:
    """A teacher of one row is compared with each row of the student."""
    student, teacher = torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 1, 4)
    stock = outcome(lambda: FeaLoss('loss_fea', True, 8, 8)(student, teacher))
    ours = outcome(lambda: mmlosses.FeaLoss('loss_fea', True, 8, 8)
                   (student, teacher))
    right = 'ValueError'
    return stock, ours, right
