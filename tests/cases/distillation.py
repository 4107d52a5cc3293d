"""Cases of the family distillation."""
import torch

from mmlosses.losses import (ChannelWiseDivergence, FeaLoss, KDLoss, KLDivLoss,
                             KnowledgeDistillationKLDivLoss)
from mmlosses.testing import LossCase, Stock
from .inputs import KEYPOINT_WEIGHT
from .simcc import BINS

LAYERS = dict(name='loss_fea', use_this=True)
READ = dict(
    name=lambda loss: torch.tensor(len(loss.name)).float(),
    use_this=lambda loss: torch.tensor(loss.use_this).float())


def logits(batch):
    """Logits of a student and a teacher."""
    return torch.randn(batch, 5), torch.randn(batch, 5)


def agree(batch):
    """A student with the teacher's probabilities."""
    teacher = torch.randn(batch, 5)
    return teacher + 1, teacher


def scores(batch):
    """Scores of the bins of 4 keypoints."""
    return tuple([
        tuple([torch.randn(batch, 4, bins) for bins in BINS]) for _ in range(2)
    ])


def same_scores(batch):
    """A student with the teacher's scores."""
    _, teacher = scores(batch)
    return teacher, teacher


def with_beta(loss, pred, target, *args, **kwargs):
    """The call of DWPose, whose third argument is not the weight."""
    return loss(pred, target, 1.5, *args, **kwargs)


def maps(batch):
    """Maps of a student and a teacher with more channels."""
    return torch.randn(batch, 3, 2, 2), torch.randn(batch, 4, 2, 2)


def channels(batch):
    """Maps of a student and a teacher with as many channels."""
    return torch.randn(batch, 3, 2, 4), torch.randn(batch, 3, 2, 4)


def active_alike(batch):
    """A student whose channels differ from the teacher's by a constant."""
    _, teacher = channels(batch)
    return teacher + torch.randn(batch, 3, 1, 1), teacher


CASES = [
    LossCase(
        loss=KnowledgeDistillationKLDivLoss,
        inputs=logits,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            T=({}, dict(T=1)), bin_reduction=({}, dict(bin_reduction='sum'))),
        stock_kwargs=[dict(loss_weight=0.25, T=10)],
        perfect=agree,
        perfect_kwargs=dict(T=1),
        non_negative=True,
        stock=[
            Stock('mmdet.KnowledgeDistillationKLDivLoss'),
            Stock('mmdet.KnowledgeDistillationKLDivLoss',
                  dict(loss_weight=0.25, T=3), dict(loss_weight=0.25, T=3))
        ]),
    LossCase(
        loss=KLDivLoss,
        inputs=logits,
        element_shape=lambda batch: (batch, ),
        arguments=dict(temperature=({}, dict(temperature=3))),
        stock_kwargs=[dict(temperature=1.0, loss_name='loss_kld')],
        perfect=agree,
        non_negative=True),
    LossCase(
        loss=KDLoss,
        inputs=scores,
        element_shape=lambda batch: (batch, 4),
        kwargs=dict(use_target_weight=None),
        arguments=dict(
            name=({}, dict(name='loss')),
            use_this=({}, dict(use_this=False)),
            **KEYPOINT_WEIGHT),
        show=READ,
        stock_kwargs=[dict(name='loss_logit', use_this=True)],
        perfect=same_scores,
        non_negative=True,
        call=with_beta,
        stock=[
            Stock('mmpose.KDLoss',
                  dict(name='loss_logit', use_this=True, weight=0.1),
                  dict(weight=0.1, use_target_weight=False))
        ]),
    LossCase(
        loss=FeaLoss,
        inputs=maps,
        element_shape=lambda batch: (batch, ),
        kwargs=dict(
            LAYERS, student_channels=3, teacher_channels=4, alpha_fea=0.1),
        refused=dict(student_channels=4, teacher_channels=3),
        arguments=dict(
            name=({}, dict(name='loss')),
            use_this=({}, dict(use_this=False)),
            alpha_fea=({}, dict(alpha_fea=0.2))),
        show=READ,
        stock_kwargs=[
            dict(
                LAYERS,
                student_channels=3,
                teacher_channels=4,
                alpha_fea=0.00007)
        ],
        parameters=['align.weight', 'align.bias']),
    LossCase(
        loss=ChannelWiseDivergence,
        inputs=channels,
        element_shape=lambda batch: (batch, 3),
        arguments=dict(tau=({}, dict(tau=4.0))),
        stock_kwargs=[dict(loss_weight=1)],
        perfect=active_alike,
        non_negative=True),
]
