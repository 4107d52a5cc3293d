"""Cross entropy over the products with one vector for each class.

With many classes, the logits and the class vectors are all that counts, and
each pass over them costs as much as a tenth of a matrix product. Autograd
takes a dozen.
"""
from __future__ import annotations
import math
from typing import Any, Callable, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .gradient import only_backward
from .numeric import MIN_NORM, unit_vectors
from .reduction import autocast_off

Move = Callable[[Tensor], Tensor]


def class_entropy(queries: Tensor,
                  vectors: Tensor,
                  labels: Tensor,
                  normalize: bool = False,
                  move: Move | None = None) -> Tensor:
    r"""Cross entropy over the products of queries and class vectors.

    .. math::
        \ell_n = -\log \frac{e^{m(z_{n y_n})}}
        {e^{m(z_{n y_n})} + \sum_{j \ne y_n} e^{z_{nj}}}, \qquad
        z_{nj} = x_n \cdot w_j \text{ or } x_n \cdot \frac{w_j}{\|w_j\|}

    Args:
        queries (Tensor): Queries x.
        vectors (Tensor): Class vectors w.
        labels (Tensor): The class y of each query, int64.
        normalize (bool): Whether class vectors are scaled to length 1.
        move (Callable, optional): The margin m of the label's logits.

    Shape:
        - queries: (N, D); vectors: (C, D); labels: (N,).
        - returns: (N,).

    Returns:
        Tensor: The loss of each query.
    """
    if normalize:
        vectors = unit_vectors(vectors)
    logits = queries @ vectors.T
    if move is not None:
        index = labels.unsqueeze(1)
        logits = logits.scatter(1, index, move(logits.gather(1, index)))
    return F.cross_entropy(logits, labels, reduction='none')


def fast_class_entropy(queries: Tensor,
                       vectors: Tensor,
                       labels: Tensor,
                       normalize: bool = False,
                       move: Move | None = None) -> Tensor:
    """The same as :func:`class_entropy`, in as few passes as it takes."""
    args = queries, vectors, labels, normalize, move
    if not only_backward():
        return class_entropy(*args)
    return ClassEntropy.apply(*args)


# Copies are made of so many classes at a time. Smaller blocks would fit a
# cache, but each one makes threads wait for one another.
BLOCK = 16_384


class ClassEntropy(torch.autograd.Function):
    """Keeps the exponential of each logit, see :func:`fast_class_entropy`."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, vectors: Tensor, labels: Tensor,
                normalize: bool, move: Move | None) -> Tensor:
        """Compute the loss, and the softmax except for a factor."""
        logits = queries @ vectors.T
        inverse = None
        if normalize:
            # Of lengths, since class vectors of length 1 would be copies.
            length = torch.linalg.vector_norm(vectors, dim=1)
            inverse = length.masked_fill(length <= MIN_NORM, 1).reciprocal()
            logits.mul_(inverse)
        index = labels.unsqueeze(1)
        target = logits.gather(1, index)
        moved, slope = target, torch.ones_like(target)
        if move is not None:
            with torch.enable_grad():
                leaf = target.requires_grad_()
                moved = move(leaf)
                slope, = torch.autograd.grad(moved.sum(), leaf)
            moved = moved.detach()
        logits.scatter_(1, index, -math.inf)
        # Of a single class, there are no others.
        least = torch.finfo(logits.dtype).min
        top = logits.amax(dim=1, keepdim=True).clamp(min=least)
        others = logits.sub_(top).exp_()
        total = others.sum(dim=1, keepdim=True)
        behind = total.log() + top - moved
        # The derivative of logits is `others` times `factor`.
        factor = behind.sigmoid() / total.clamp(min=1)
        others.scatter_(1, index, -slope * total)
        ctx.args = normalize, move
        ctx.save_for_backward(queries, vectors, labels, inverse, others,
                              factor)
        return -F.logsigmoid(-behind).squeeze(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor | None, ...]:
        """Multiply the derivatives of the logits by the other vectors."""
        queries, vectors, labels, inverse, others, factor = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        grads: Sequence[Tensor | None]
        if torch.is_grad_enabled():
            # A second derivative is wanted, and the first has no graph.
            loss = class_entropy(queries, vectors, labels, *ctx.args)
            inputs = [
                tensor for tensor, need in zip((queries, vectors), needed)
                if need
            ]
            found = iter(
                torch.autograd.grad(loss, inputs, grad, create_graph=True))
            grads = [next(found) if need else None for need in needed]
        else:
            with autocast_off(grad.device.type):
                grads = product_grads(queries, vectors, inverse, others,
                                      factor * grad.unsqueeze(1), *needed)
        return (*grads, None, None, None)


def product_grads(queries: Tensor, vectors: Tensor, inverse: Tensor | None,
                  others: Tensor, factor: Tensor, of_queries: bool,
                  of_vectors: bool) -> Tuple[Tensor | None, Tensor | None]:
    """Gradients of both sides of a matrix product, in blocks of classes."""
    grad_queries = torch.zeros_like(queries) if of_queries else None
    grad_vectors = torch.empty_like(vectors) if of_vectors else None
    for begin in range(0, len(vectors), BLOCK):
        block = slice(begin, begin + BLOCK)
        some = vectors[block]
        slope = others[:, block] * factor
        if inverse is not None:
            slope.mul_(inverse[block])
        if grad_queries is not None:
            grad_queries.addmm_(slope, some)
        if grad_vectors is not None:
            part = torch.mm(slope.T, queries, out=grad_vectors[block])
            if inverse is not None:
                # The length does not matter, or next to nothing if tiny.
                square = inverse[block].square()
                along = (part * some).sum(dim=1) * square
                part.addcmul_(some, along.unsqueeze(1), value=-1)
    return grad_queries, grad_vectors
