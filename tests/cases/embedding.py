"""Cases of the family embedding."""
import torch

from mmlosses.losses import InfoNCELoss, MarginL2Loss, TripletLoss
from mmlosses.testing import LossCase

QDTRACK = dict(
    neg_pos_ub=3,
    pos_margin=0,
    neg_margin=0.1,
    hard_mining=True,
    loss_weight=1.0)


def identities(batch):
    """Features of two identities, less than the margin apart."""
    return 0.1 * torch.randn(batch, 4), torch.arange(batch) % 2


def apart(batch):
    """Features of two identities, equal within each and far apart."""
    labels = torch.arange(batch) % 2
    return 5 * torch.nn.functional.one_hot(labels, 4).float(), labels


def similarities(batch):
    """Cosines of pairs, of which few are positive."""
    return torch.randn(batch, 6).tanh(), (torch.rand(batch, 6) > 0.8).float()


def matched(batch):
    """Cosines that are right."""
    target = similarities(batch)[1]
    return target.clone(), target


def kept(loss):
    """The loss where one negative is kept for each positive."""
    torch.manual_seed(0)
    loss.neg_pos_ub = 1
    return loss(*similarities(9))


def keys(batch):
    """Features and their keys."""
    return torch.randn(batch, 8), torch.randn(batch, 8)


def distinct(batch):
    """Orthogonal features that are their own keys."""
    return torch.eye(batch, 8), torch.eye(batch, 8)


CASES = [
    LossCase(
        loss=TripletLoss,
        inputs=identities,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            margin=({}, dict(margin=1.0)),
            hard_mining=({}, dict(hard_mining=False))),
        stock_kwargs=[dict(margin=0.3, loss_weight=1.0)],
        perfect=apart,
        non_negative=True,
        selects=True),
    LossCase(
        loss=MarginL2Loss,
        inputs=similarities,
        element_shape=lambda batch: (batch, 6),
        arguments=dict(
            neg_pos_ub=(dict(hard_mining=True),
                        dict(hard_mining=True, neg_pos_ub=1)),
            pos_margin=({}, dict(pos_margin=0.2)),
            neg_margin=({}, dict(neg_margin=0.2)),
            hard_mining=({}, dict(hard_mining=True)),
            clamp_positives=({}, dict(clamp_positives=False))),
        show=dict(hard_mining=kept),
        stock_kwargs=[QDTRACK],
        perfect=matched,
        non_negative=True,
        selects=True),
    LossCase(
        loss=InfoNCELoss,
        inputs=keys,
        element_shape=lambda batch: (batch, ),
        arguments=dict(temperature=({}, dict(temperature=0.1))),
        stock_kwargs=[dict(temperature=0.05, loss_weight=1.0)],
        perfect=distinct,
        perfect_kwargs=dict(temperature=0.01),
        non_negative=True,
        selects=True,
        mean=torch.Tensor.sum),
]
