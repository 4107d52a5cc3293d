"""Cases of the family long_tail."""
import torch

from mmlosses.losses import EQLV2Loss, SeesawLoss
from mmlosses.testing import LossCase, Stock
from .inputs import CLASS_WEIGHT, CLASSES, labelled

SEESAW = dict(num_classes=CLASSES)
EQUALIZED = dict(num_classes=CLASSES - 1)


def objects(batch):
    """Scores of 4 classes and a background; objects, unevenly of classes.

    The loss of the classes is divided by the number of objects, which is that
    of the samples here.
    """
    return torch.randn(batch, CLASSES + 2), torch.arange(batch) // 2 % CLASSES


def certain_objects(batch):
    """Scores that leave no doubt about the class, or that it is an object."""
    _, target = objects(batch)
    one_hot = torch.nn.functional.one_hot(target, CLASSES + 2).float()
    one_hot[:, CLASSES] = 1
    return 200 * one_hot, target


def certain_scores(batch):
    """Scores that leave no doubt about any class."""
    _, target = labelled(batch)
    one_hot = torch.nn.functional.one_hot(target, CLASSES).float()
    return 200 * one_hot - 100, target


def trained(loss):
    """The loss after a call in training mode, which moves its weights."""
    inputs = labelled(3)
    loss.train()(*inputs)
    return loss.eval()(*inputs)


def tested(loss):
    """The probabilities of some scores."""
    return loss.get_activation(torch.zeros(1, CLASSES))


def total(loss, *args, **kwargs):
    """One number: the sum of the terms."""
    result = loss(*args, **kwargs)
    return sum(result.values()) if isinstance(result, dict) else result


def terms(loss):
    """How many terms it returns."""
    result = loss(*objects(3))
    return torch.tensor([float(isinstance(result, dict)) + 1])


CASES = [
    LossCase(
        loss=SeesawLoss,
        inputs=objects,
        element_shape=lambda batch: (batch, ),
        kwargs=SEESAW,
        arguments=dict(
            p=({}, dict(p=0.0)),
            q=({}, dict(q=0.0)),
            eps=({}, dict(eps=0.5)),
            class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
            ignore_index=({}, dict(ignore_index=1)),
            return_dict=({}, dict(return_dict=False))),
        show=dict(return_dict=terms),
        refused=dict(use_sigmoid=True, num_classes=CLASSES - 1),
        stock_kwargs=[dict(use_sigmoid=False, p=0.8, q=2.0, loss_weight=1.0)],
        perfect=certain_objects,
        call=total,
        non_negative=True,
        training=False,
        selects=True,
        constant_factors=True,
        stock=[
            Stock('mmdet.SeesawLoss', SEESAW),
            Stock('mmdet.SeesawLoss', dict(SEESAW, p=0.3, q=1.0, eps=0.2),
                  dict(p=0.3, q=1.0, eps=0.2))
        ]),
    LossCase(
        loss=EQLV2Loss,
        inputs=labelled,
        element_shape=lambda batch: (batch, CLASSES),
        kwargs=EQUALIZED,
        arguments=dict(
            mu=({}, dict(mu=0.2)),
            alpha=({}, dict(alpha=1.0)),
            gamma=({}, dict(gamma=1.0)),
            test_with_obj=({}, dict(test_with_obj=False)),
            class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
            ignore_index=({}, dict(ignore_index=1))),
        show=dict(
            mu=trained, alpha=trained, gamma=trained, test_with_obj=tested),
        refused=dict(use_sigmoid=False, num_classes=CLASSES),
        perfect=certain_scores,
        non_negative=True,
        training=False,
        mean=lambda loss: loss.sum() / len(loss),
        # It ignores the arguments of a call.
        stock=[Stock('mmdet.EQLV2Loss', EQUALIZED, calls=['plain'])]),
]
