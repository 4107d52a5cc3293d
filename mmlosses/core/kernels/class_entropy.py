"""Cross entropy over the products of queries with class vectors.

With many classes, each pass over the logits or the class vectors costs a tenth
of a matrix product. Autograd takes a dozen passes.
"""
from __future__ import annotations
import math
from typing import Any, Callable, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlosses.distributed.class_shard import ClassShard
from ..numeric import MIN_NORM, unit_vectors
from ..tensors import autocast_off, is_transformed
from .gradient import gradients_with_graph

MarginFn = Callable[[Tensor], Tensor]


def class_entropy(queries: Tensor,
                  vectors: Tensor,
                  labels: Tensor,
                  normalize: bool = False,
                  margin_fn: MarginFn | None = None) -> Tensor:
    r"""Cross entropy over the products of queries and class vectors: (N,).

    .. math::
        \ell_n = -\log \frac{e^{m(z_{n y_n})}}
        {e^{m(z_{n y_n})} + \sum_{j \ne y_n} e^{z_{nj}}}, \qquad
        z_{nj} = x_n \cdot w_j \text{ or, with } normalize, \;
        x_n \cdot \frac{w_j}{\|w_j\|}

    for queries x (N, D), class vectors w (C, D), int64 labels y (N,) and the
    margin m of the labels' logits.
    """
    if normalize:
        vectors = unit_vectors(vectors)
    logits = queries @ vectors.T
    if margin_fn is not None:
        index = labels.unsqueeze(1)
        logits = logits.scatter(1, index, margin_fn(logits.gather(1, index)))
    return F.cross_entropy(logits, labels, reduction='none')


def fast_class_entropy(queries: Tensor,
                       vectors: Tensor,
                       labels: Tensor,
                       normalize: bool = False,
                       margin_fn: MarginFn | None = None,
                       chunk_size: int | None = None,
                       shard: ClassShard | None = None) -> Tensor:
    """Compute :func:`class_entropy` in as few passes as possible.

    ``chunk_size`` is the number of classes whose logits are in memory at a
    time; the backward pass recomputes them. With ``shard``, the vectors are
    those of the classes of this rank.
    """
    if shard is None and is_transformed():
        return class_entropy(queries, vectors, labels, normalize, margin_fn)
    return ClassEntropy.apply(queries, vectors, labels, normalize, margin_fn,
                              chunk_size, shard)


# Classes copied at a time. Each smaller block would synchronise the threads.
BLOCK = 16_384


class ClassEntropy(torch.autograd.Function):
    """Keeps the exponential of each logit, or with chunks or a shard none."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, vectors: Tensor, labels: Tensor,
                normalize: bool, margin_fn: MarginFn | None,
                chunk_size: int | None, shard: ClassShard | None) -> Tensor:
        ctx.args, ctx.shard, ctx.rows = (normalize, margin_fn), shard, None
        if shard is not None:
            ctx.rows = shard.all_rows(queries)
            queries = shard.gather(queries, ctx.rows)
            labels = shard.gather(labels, ctx.rows) - shard.begin
        inverse = None
        if normalize:
            # Lengths only: normalised class vectors would be copies.
            length = torch.linalg.vector_norm(vectors, dim=1)
            inverse = length.masked_fill(length <= MIN_NORM, 1).reciprocal()
        keep = chunk_size is None and shard is None
        ctx.chunk = BLOCK if keep else chunk_size or len(vectors)
        # A single class has no others.
        top = queries.new_full((len(queries), 1),
                               torch.finfo(queries.dtype).min)
        total, target = torch.zeros_like(top), torch.zeros_like(top)
        for block in blocks(len(vectors), len(vectors) if keep else ctx.chunk):
            logits = products(queries, vectors, inverse, block)
            place, here = locate(labels, block)
            own = logits.gather(1, place)
            target = torch.where(here, own, target)
            logits.scatter_(1, place, own.masked_fill(here, -math.inf))
            highest = torch.maximum(top, logits.amax(dim=1, keepdim=True))
            others = logits.sub_(highest).exp_()
            total = total * (top - highest).exp()
            total = total + others.sum(dim=1, keepdim=True)
            top = highest
        if shard is not None:
            target = shard.add(target)
            highest = shard.highest(top)
            total = shard.add(total * (top - highest).exp())
            top = highest
        moved, derivative = target, torch.ones_like(target)
        if margin_fn is not None:
            # A clone: what inference mode made takes no gradient.
            with torch.inference_mode(False), torch.enable_grad():
                leaf = target.clone().requires_grad_()
                moved = margin_fn(leaf)
                derivative, = torch.autograd.grad(moved.sum(), leaf)
            moved = moved.detach()
        behind = total.log() + top - moved
        # The derivative of logits is `others`, or `of_own`, times `factor`.
        factor = behind.sigmoid() / total.clamp(min=1)
        of_own = -derivative * total
        kept = [top, of_own]
        if keep:
            kept = [others.scatter_(1, labels.unsqueeze(1), of_own)]
        ctx.save_for_backward(queries, vectors, labels, inverse, factor, *kept)
        loss = -F.logsigmoid(-behind).squeeze(1)
        return loss if shard is None else shard.own(loss, ctx.rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # for a second derivative
            grads = differentiable_grads(ctx, grad)
        else:
            with autocast_off(grad.device.type):
                grads = product_grads(ctx, grad.unsqueeze(1))
        return (*grads, None, None, None, None, None)


def blocks(number: int, size: int) -> List[slice]:
    """Split a number of classes into slices of at most ``size``."""
    return [slice(x, min(x + size, number)) for x in range(0, number, size)]


def products(queries: Tensor, vectors: Tensor, inverse: Tensor | None,
             block: slice) -> Tensor:
    """Return the logits of the queries for a block of classes."""
    logits = queries @ vectors[block].T
    return logits if inverse is None else logits.mul_(inverse[block])


def locate(labels: Tensor, block: slice) -> Tuple[Tensor, Tensor]:
    """Return the index of each label in a block, and a mask of those in it."""
    index = labels.unsqueeze(1)
    here = (index >= block.start) & (index < block.stop)
    return (index - block.start).masked_fill(~here, 0), here


def product_grads(ctx: Any, grad: Tensor) -> Tuple[Tensor | None, ...]:
    """Return the gradients of both factors, in blocks of classes."""
    queries, vectors, labels, inverse, factor, *kept = ctx.saved_tensors
    shard = ctx.shard
    factor = factor * (grad if shard is None else shard.gather(grad, ctx.rows))
    of_queries, of_vectors = ctx.needs_input_grad[:2]
    grad_queries = torch.zeros_like(queries) if of_queries else None
    grad_vectors = torch.empty_like(vectors) if of_vectors else None
    for block in blocks(len(vectors), ctx.chunk):
        some = vectors[block]
        if len(kept) == 1:
            derivative = kept[0][:, block] * factor
        else:
            top, of_own = kept
            derivative = products(queries, vectors, inverse, block)
            derivative.sub_(top).exp_()
            place, here = locate(labels, block)
            own = torch.where(here, of_own, derivative.gather(1, place))
            derivative.scatter_(1, place, own).mul_(factor)
        if inverse is not None:
            derivative.mul_(inverse[block])
        if grad_queries is not None:
            grad_queries.addmm_(derivative, some)
        if grad_vectors is not None:
            part = torch.mm(derivative.T, queries, out=grad_vectors[block])
            if inverse is not None:
                # The loss does not depend on the length, or hardly if tiny.
                square = inverse[block].square()
                along = (part * some).sum(dim=1) * square
                part.addcmul_(some, along.unsqueeze(1), value=-1)
    if shard is not None and grad_queries is not None:
        grad_queries = shard.own(shard.add(grad_queries), ctx.rows)
    if shard is not None and grad_vectors is not None:
        # The mean over the ranks, as for every other parameter.
        grad_vectors /= shard.ranks
    return grad_queries, grad_vectors


def differentiable_grads(ctx: Any, grad: Tensor) -> Tuple[Tensor | None, ...]:
    """Return the same gradients with a graph, for second derivatives."""
    if ctx.shard is not None:
        raise RuntimeError('there is no second derivative with classes that '
                           'are spread over ranks')
    queries, vectors, labels = ctx.saved_tensors[:3]
    loss = class_entropy(queries, vectors, labels, *ctx.args)
    return tuple(
        gradients_with_graph(loss, (queries, vectors),
                             ctx.needs_input_grad[:2], grad))
