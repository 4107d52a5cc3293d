"""Helpers of the tests of losses over classes."""
import dataclasses

import torch
from cases.inputs import CLASSES

REDUCTIONS = ('mean', 'sum', 'none')

close = torch.testing.assert_close


def scores(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def assert_same_with_gradient(got, expected, pred, **kwargs):
    close(got, expected, **kwargs)
    one, other = [
        torch.autograd.grad(x.sum(), pred, retain_graph=True)[0]
        for x in (got, expected)
    ]
    close(one, other, **kwargs)


def soft(case, kwargs, element_shape):
    """A class distribution as the target."""

    def inputs(batch):
        return (torch.randn(batch, CLASSES), torch.rand(batch,
                                                        CLASSES).softmax(1))

    return dataclasses.replace(
        case,
        kwargs=kwargs,
        inputs=inputs,
        element_shape=element_shape,
        perfect=None)
