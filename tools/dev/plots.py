"""The pictures of the losses: a table of curves, and how it is drawn.

A loss that no curve names joins the first panels of its family with its
default arguments; where those do not fit, it needs one :class:`Curve`. A
family without an entry in the table is drawn from tests/cases.
"""
from __future__ import annotations
import argparse
import inspect
import math
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plot_style import CARD, PAGE, TALL, THEMES, Theme, save, settings
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import pad

from mmlosses.cli import did_you_mean, one_line_errors
from mmlosses.core.rotated import corners_of
from mmlosses.core.tensors import map_tensors
from mmlosses.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent.parent
CARD_CURVES = 4  # at most, for lack of room
COLUMN, COLUMNS = 6, 3  # curves in a column, and columns side by side
DASHES: List[Any] = [(0, (3, 2)), (0, (1, 2))]
SCALE = 16.0  # of cosines


class Inputs(NamedTuple):
    """A one-parameter family of inputs: the x-axis of a panel."""
    call: Callable[..., Tensor]  # the loss (N,) at N values of the parameter
    name: str  # the parameter, for titles
    label: str  # of the axis
    at: Tensor  # the values (N,)
    kwargs: Dict[str, Any] = {}  # arguments that these inputs need
    shown: Callable[[Tensor], Tensor] = Tensor.clone  # on the axis
    xticks: Sequence[float] | None = None
    per: str = ''  # the unit of the parameter, where the axis shows another


class Curve:
    """A curve of a loss.

    Args:
        loss (str): Its name in the registry.
        label (str): Its label. Default: The name without 'Loss'.
        dash (int): 1 for dashes or 2 for dots, which show the curve below.
        **kwargs: Arguments of the inputs and of the loss.
    """

    def __init__(self,
                 loss: str,
                 label: str = '',
                 dash: int = 0,
                 **kwargs: Any) -> None:
        self.loss = loss
        self.label = label or loss[:-len('Loss')]
        self.style = dict(linestyle=DASHES[dash - 1]) if dash else {}
        self.kwargs = kwargs

    def compute(self, inputs: Inputs, gradient: bool) -> Tensor:
        """The loss (N,) of each of the inputs, or its gradient."""
        kwargs = {'reduction': 'none', **inputs.kwargs, **self.kwargs}
        names = list(inspect.signature(inputs.call).parameters)[2:]
        given = {name: kwargs.pop(name) for name in names if name in kwargs}
        loss = MODELS.build(dict(type=f'mmlosses.{self.loss}', **kwargs))
        at = inputs.at.clone().requires_grad_()
        value = inputs.call(loss.eval(), at, **given)
        if gradient:
            value, = torch.autograd.grad(value.sum(), at)
        return value.detach()


def sweep(loss: str, label: str, name: str, values: Sequence[Any],
          **kwargs: Any) -> List[Curve]:
    """A curve for each value of an argument, which its label shows."""
    return [
        Curve(loss, label.format(value), **{name: value}, **kwargs)
        for value in values
    ]


class Panel(NamedTuple):
    """Curves over one axis."""
    inputs: Inputs
    curves: List[Curve]
    title: str = ''  # 'loss vs. NAME' without one
    gradient: bool = False
    minima: bool = False  # marked by dots
    legend: bool = True
    convert: Callable[[Tensor], Tensor] = Tensor.clone  # of the loss
    axes: Dict[str, Any] = {}  # arguments of Axes.set

    def draw(self, axes: Axes, card: bool) -> None:
        """Draw the curves, on a card the first ones only."""
        inputs, ticks = self.inputs, self.inputs.xticks
        x = inputs.shown(inputs.at)
        for curve in self.curves[:CARD_CURVES if card else None]:
            y = self.convert(curve.compute(inputs, self.gradient))
            drawn, = axes.plot(x, y, label=curve.label, **curve.style)
            best = y.argmin()
            if self.minima and 0 < best < len(y) - 1:
                axes.plot(x[best], y[best], 'o', color=drawn.get_color())
        if inputs.shown is torch.exp2:
            axes.set_xscale('log')
            axes.minorticks_off()
        if ticks is not None:
            ticks = ticks[::2] if card else ticks
            axes.set_xticks(ticks, [f'{x:g}'.replace('-', '−') for x in ticks])
        title = f'{"gradient" if self.gradient else "loss"} vs. {inputs.name}'
        if self.gradient and inputs.per:
            title += f', per {inputs.per}'
        axes.set(title=self.title or title, xlabel=inputs.label, **self.axes)
        if self.legend:
            axes.legend()


class Family(NamedTuple):
    """The picture of a folder of configs/."""
    inputs: Inputs
    curves: List[Curve]  # of value and gradient; the first ones on the card
    more: Sequence[Panel] = ()
    also: Sequence[Inputs] = ()  # further axes for the value
    options: Dict[str, Any] = {}  # of the panels of value and gradient

    def rows(self) -> List[List[Panel]]:
        """The rows of panels; many curves are split into columns."""
        count = len(self.curves)
        width = -(-count // min(-(-count // COLUMN), COLUMNS))
        columns = [self.curves[i:i + width] for i in range(0, count, width)]
        value = Panel(self.inputs, [], **self.options)
        gradient = value._replace(gradient=True, legend=False, minima=False)
        also = [Panel(inputs, [], legend=False) for inputs in self.also]
        rows: List[List[Panel]] = [[
            panel._replace(curves=curves) for curves in columns
        ] for panel in (value, gradient, *also)]
        if len(columns) > 1:
            return rows + [list(self.more)] * bool(self.more)
        panels = [*sum(rows, []), *self.more]
        width = 2 if len(panels) == 4 else 3
        return [panels[i:i + width] for i in range(0, len(panels), width)]


# --- inputs ---


def line(low: float, high: float, steps: int = 401) -> Tensor:
    """Evenly spaced numbers."""
    return torch.linspace(low, high, steps, dtype=torch.float64)


def inputs(*axis: Any) -> Callable[[Callable[..., Tensor]], Inputs]:
    """Make :class:`Inputs` of a function."""
    return lambda call: Inputs(call, *axis)


@inputs('error', 'prediction − target', line(-2, 2))
def number(loss: Any, pred: Tensor, target: float = 0.0) -> Tensor:
    """Numbers, all with one target."""
    return loss(pred, torch.full_like(pred, target))


@inputs('logit', 'logit', line(-6, 6), {}, Tensor.clone, range(-6, 7, 3))
def logit(loss: Any, pred: Tensor, target: float = 1.0) -> Tensor:
    """Logits, all with one target."""
    return number.call(loss, pred, target)


@inputs('probability', 'predicted probability',
        line(0.005, 0.995).logit(), {}, torch.sigmoid, None, 'logit')
def probability(loss: Any, logit: Tensor, target: float = 1.0) -> Tensor:
    """Probabilities, all with one target."""
    return number.call(loss, logit.sigmoid(), target)


@inputs(*probability[1:])
def peak(loss: Any, logit: Tensor, target: float = 1.0) -> Tensor:
    """Maps of one pixel with a probability."""
    return pixel.call(loss, logit.sigmoid() - target, target)


@inputs('error', 'prediction − target', line(-1, 1))
def pixel(loss: Any,
          error: Tensor,
          target: float = 1.0,
          channels: int = 1) -> Tensor:
    """Maps of one pixel with an error, and further channels without."""
    truth = torch.full_like(error, target)
    pred = torch.stack([truth + error] + [truth] * (channels - 1), dim=1)
    maps = [x[..., None, None] for x in (pred, truth[:, None].expand_as(pred))]
    return loss(*maps).flatten()


@inputs('margin', 'logit above the others, 10 classes', line(-4, 12))
def margin(loss: Any, margin: Tensor) -> Tensor:
    """Scores whose true class is above the others by a margin."""
    scores = pad(margin[:, None], (0, 9))
    return loss(scores, first_class(margin))


@inputs('margin', 'similarity above that of 8 negatives', line(-4, 12))
def matches(loss: Any, margin: Tensor, positives: int) -> Tensor:
    """Similarities, those of the positives above the others by a margin."""
    scores = pad(margin[:, None].expand(-1, positives), (0, 8))
    target = torch.arange(positives + 8) < positives
    return loss(scores, target.expand_as(scores))


@inputs(*probability[1:])
def quality(loss: Any, logit: Tensor, target: float) -> Tensor:
    """Logits of a class, all with one quality."""
    return number.call(loss, logit[:, None], target).flatten()


@inputs('distance', 'mean of the predicted bins', line(0, 4))
def distance(loss: Any, distance: Tensor, target: float) -> Tensor:
    """Gaussian bins, all with one target."""
    scores = -2 * (torch.arange(5).to(distance) - distance[:, None])**2
    return number.call(lambda pred, target: loss(pred, target[:, 0]), scores,
                       target)


def first_class(like: Tensor) -> Tensor:
    """Labels (N,) of class 0."""
    return torch.zeros(len(like), dtype=torch.long)


def direction(angle: Tensor) -> Tensor:
    """Vectors (N, 2) of length 1."""
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


@inputs('angle', 'angle to the target, degrees', line(0, math.pi), {},
        torch.rad2deg, range(0, 181, 45), 'radian')
def angle(loss: Any, angle: Tensor, times: int = 1) -> Tensor:
    """Vectors at an angle to their target; lines have twice the angle."""
    return loss(direction(times * angle), direction(0 * angle))


to_class = angle._replace(label='angle to the class vector, degrees')[1:]


@inputs(*to_class)
def embedding(loss: Any, angle: Tensor, iou: float = 1.0) -> Tensor:
    """Embeddings at an angle to a class vector of the classifier."""
    vector, weight = direction(0 * angle[:1]), torch.full_like(angle, iou)
    return loss(direction(angle), vector, first_class(angle), weight)


@inputs(*to_class)
def cosine(loss: Any, angle: Tensor, background: int = 0) -> Tensor:
    """Scaled cosines; the other class, at 90°, is the background."""
    scores = torch.stack([SCALE * angle.cos(), 0 * angle], dim=1)
    labels = first_class(angle) + background
    return loss(scores.roll(background, 1), labels)


@inputs(*to_class[:3], dict(num_classes=2, in_channels=3), *to_class[4:])
def features(loss: Any, angle: Tensor, length: float = 1.0) -> Tensor:
    """Features at an angle to their class, and at 90° to the other one."""
    features = length * pad(direction(angle), (0, 1))
    state = dict(weight=torch.eye(3).to(angle)[::2])
    return functional_call(loss, state, (features, first_class(angle)))


@inputs('feature', 'feature, centre at 2', line(-1, 5),
        dict(num_classes=2, in_channels=1))
def feature(loss: Any, feature: Tensor) -> Tensor:
    """Features of one number, along the vector of their class."""
    centers = torch.tensor([[2.0], [-2.0]]).to(feature)
    state = dict(centers=centers, weight=centers / 2)
    state = {name: state[name] for name in loss.state_dict()}
    inputs = feature[:, None], first_class(feature)
    return functional_call(loss, state, inputs)


@inputs('mean', 'predicted mean', line(-0.5, 0.5), dict(sigma=0.1))
def mean(loss: Any, mean: Tensor, spread: float) -> Tensor:
    """One predicted Gaussian, with target 0."""
    pred = torch.stack([mean, torch.full_like(mean, spread)], dim=-1)
    return loss(pred[:, None], torch.zeros_like(mean)[:, None])


@inputs('σ', 'predicted σ', line(0.02, 0.5), dict(sigma=0.1))
def deviation(loss: Any, sigma: Tensor, error: float) -> Tensor:
    """A keypoint with a fixed error, as mmpose's RLEHead calls the loss."""
    sigma = sigma[:, None, None]
    mean = torch.full_like(sigma, error)
    return loss(mean, sigma, 0 * mean)[:, 0]


@inputs('sigma', 'predicted log deviation', line(-4, 4))
def log_deviation(loss: Any, sigma: Tensor, error: float) -> Tensor:
    """A number with a fixed error."""
    pred = torch.full_like(sigma, error)
    return loss(pred, torch.zeros_like(pred), sigma)


# Logits of an image: 50 of positives, 4,950 of negatives, both Gaussian.
POSITIVES, NEGATIVES = [
    torch.distributions.Normal(mean, 1.5).icdf(
        (torch.arange(size).double() + 0.5) / size)
    for mean, size in ((1, 50), (-3, 4950))
]


@inputs('logit', 'logit of a negative', NEGATIVES)
def negatives(loss: Any, logits: Tensor) -> Tensor:
    """The negatives of an image, each with its own loss."""
    return image(loss, logits)[50:]


@inputs('bias', 'bias added to all logits', line(-5, 4, 91),
        dict(reduction='mean'))
def bias(loss: Any, bias: Tensor) -> Tensor:
    """The loss of an image, all logits shifted by a bias."""
    return torch.stack([image(loss, NEGATIVES + x, x) for x in bias])


def image(loss: Any, negatives: Tensor, bias: Any = 0) -> Tensor:
    """The loss of an image."""
    logits = torch.cat([POSITIVES + bias, negatives])
    return loss(logits, (torch.arange(len(logits)) < 50).to(logits))


@inputs('delta', 'error of a delta',
        torch.distributions.Normal(0, 0.1).icdf(line(0.001, 0.999, 400)))
def deltas(loss: Any, error: Tensor) -> Tensor:
    """The deltas of an image, each with its own loss."""
    return loss(error, 0 * error)


@inputs('rival', 'score of a rival above that of the label', line(-4, 6),
        dict(num_classes=2))
def rival(loss: Any, score: Tensor, share: float = 1.0) -> Tensor:
    """Samples of class 0, beside a class with a share of its samples."""
    state = dict(cum_samples=1e6 * torch.tensor([1, share, 0]))
    scores = pad(score[:, None], (1, 0))
    return functional_call(loss, state, (scores, first_class(score)))


@inputs('ratio', 'positive by negative gradients', line(0, 1.6, 81),
        dict(num_classes=1))
def gradient_ratio(loss: Any, ratio: Tensor, true_class: int) -> Tensor:
    """A logit of 0, of a class with a ratio of gradients so far."""
    sample = torch.zeros(1, 2), torch.tensor([true_class])
    return torch.stack([
        functional_call(
            loss, dict(gradients=torch.stack([x[None], 0 * x[None] + 1])),
            sample)[0, 0] for x in ratio
    ])


@inputs('probability', 'predicted probability', line(0, 1),
        dict(activate=False))
def patch(loss: Any, pred: Tensor, target: float) -> Tensor:
    """A mask of one value everywhere."""
    return number.call(loss, pred[:, None].expand(-1, 64), target)


@inputs('distance', 'distance of two tags', line(-2.5, 2.5),
        dict(pull_weight=1, push_weight=1))
def tags(loss: Any, distance: Tensor, push: bool = False) -> Tensor:
    """The tags of one object, to pull, or of two, to push."""
    one, two = (0 * distance)[:, None, None], distance[:, None, None]
    if push:
        one = two = torch.cat([one, two], dim=1)
    return loss(one, two, torch.ones(one.shape[:2], dtype=torch.bool))[push]


@inputs('offset', 'offset in bins', line(-20, 20, 321),
        dict(bin_reduction='sum', use_target_weight=None))
def bins(loss: Any,
         offset: Tensor,
         spread: float = 4.0,
         peak: bool = False) -> Tensor:
    """Gaussian bins; the target has σ = 4, and a sum or a peak of 1."""
    place = torch.arange(-64, 64).to(offset)
    scores = -((place - offset[:, None, None]) / spread)**2 / 2
    target = (-(place / 4)**2 / 2).exp()
    target = target if peak else target / target.sum()
    return loss((scores, ), (target.expand_as(scores), ))[:, 0]


@inputs('offset', 'offset in bins', line(-20, 20, 321))
def density(loss: Any, offset: Tensor, spread: float = 4.0) -> Tensor:
    """Gaussian bins of sum 1; the target has σ = 4."""
    place = torch.arange(-64, 64).to(offset)
    scores = -((place - offset[:, None, None]) / spread)**2 / 2
    target = (-(place / 4)**2 / 2).softmax(-1)
    return loss(scores.softmax(-1), target.expand_as(scores))[:, 0]


@inputs('offset', 'offset in bins', line(-20, 20, 321))
def teacher_bins(loss: Any, offset: Tensor, beta: float = 1.0) -> Tensor:
    """Gaussian scores of a student that is off by some bins."""
    place = torch.arange(-64, 64).to(offset)
    student, teacher = [
        -((place - x[:, None, None]) / 8)**2 / 2 for x in (offset, 0 * offset)
    ]
    return loss((student, ), (teacher, ), beta)[:, 0]


@inputs('logit', "student's logit, teacher's is 4", line(-2, 10))
def student(loss: Any, logit: Tensor) -> Tensor:
    """Two classes, of which the teacher prefers the first."""
    teacher = torch.full_like(logit, 4)
    return loss(pad(logit[:, None], (0, 1)), pad(teacher[:, None], (0, 1)))


@inputs('error', 'student − teacher', line(-2, 2),
        dict(name='', use_this=True, student_channels=1, teacher_channels=1))
def feature_map(loss: Any, error: Tensor) -> Tensor:
    """Maps of one pixel."""
    error = error[:, None, None, None]
    return loss(error, 0 * error)


@inputs('logit', "student's logit of the teacher's pixel", line(-4, 8))
def channel(loss: Any, logit: Tensor) -> Tensor:
    """Channels of 16 pixels; the teacher's has the logit 4 in one of them."""
    maps = [pad(x[:, None], (0, 15)) for x in (logit, 4 + 0 * logit)]
    return loss(*[x.reshape(-1, 1, 4, 4) for x in maps])[:, 0]


@inputs('distance', 'distance to the own identity, other at 1', line(0, 2, 81))
def triplet(loss: Any, distance: Tensor) -> Tensor:
    """An anchor, its positive along one axis, a negative along the other."""
    labels = torch.tensor([0, 0, 1])
    other = torch.tensor([0, 1]).to(distance)
    return torch.stack([
        loss(torch.stack([0 * other, pad(x[None], (0, 1)), other]), labels)[0]
        for x in distance
    ])


@inputs('cosine', 'cosine of a pair', line(-1, 1))
def pair(loss: Any, cosine: Tensor, target: float = 1.0) -> Tensor:
    """Similarities, all positive or all negative."""
    return number.call(loss, cosine, target)


@inputs('cosine', 'cosine to the own key, others at 0', line(-1, 1, 81))
def own_key(loss: Any, cosine: Tensor) -> Tensor:
    """A feature and its key, beside one other of each."""
    sine = (1 - cosine**2).clamp(min=0).sqrt()
    other = torch.tensor([0, 0, 1.0]).to(cosine)
    return torch.stack([
        loss(
            torch.eye(3).to(cosine)[::2],
            torch.stack([torch.stack([c, s, 0 * c]), other]))[0]
        for c, s in zip(cosine, sine)
    ])


@inputs('offset', 'offset in bins', line(-20, 20, 321))
def likelihood(loss: Any, offset: Tensor, spread: float = 4.0) -> Tensor:
    """Gaussian bins, and a likelihood of 1 that falls as RTMO's."""
    place = torch.arange(-64, 64).to(offset)
    scores = -((place - offset[:, None, None]) / spread)**2 / 2
    target = (-(place / 4).abs() / 2).exp().expand_as(scores)
    return loss((scores.softmax(dim=-1), ), (target, ))[:, 0]


pixels = number._replace(label='error in pixels', at=line(-20, 20))


@inputs('error', 'error along x', line(-2, 2))
def residual(loss: Any, error: Tensor) -> Tensor:
    """A keypoint whose flow is still the standard Gaussian."""
    pred = torch.stack([error, 0 * error], dim=-1)[:, None]
    state = {name: 0 * x for name, x in loss.double().state_dict().items()}
    return functional_call(loss, state, (pred, 0 * pred, 0 * pred))[:, 0]


@inputs('distance', 'distance / √area', line(0, 0.8), dict(sigmas=[0.079]))
def similarity(loss: Any, distance: Tensor) -> Tensor:
    """An object of area 1 with one keypoint, or of a box of 1 x 1."""
    pred = torch.stack([distance, 0 * distance], dim=-1)[:, None]
    if type(loss).__name__ == 'OksLoss':
        box = torch.tensor([0, 0, 1, 1]).to(pred).expand(len(pred), 4)
        return loss.double()(pred, 0 * pred, bboxes=box)
    return loss.double()(pred, 0 * pred)


@inputs('error', 'distance to the target', line(0, 1))
def joint(loss: Any, error: Tensor, frames: int = 1) -> Tensor:
    """One of two joints off its target, in the last of some frames."""
    target = torch.eye(3)[:2].to(error)
    off = target + error[:, None, None] * torch.eye(3)[[2, 2]].to(error)
    pred = torch.stack([off[:, 0], target[1].expand(len(off), 3)], dim=1)
    target = target.expand_as(pred)
    if frames == 1:
        return loss(pred, target).mean(dim=-1)
    film = torch.stack([target] * (frames - 1) + [pred], dim=1)
    return loss(film, torch.stack([target] * frames, dim=1)).mean(dim=(1, 2))


@inputs('length', 'length of a bone, target 1', line(0.2, 2),
        dict(joint_parents=[0, 0]))
def bone(loss: Any, length: Tensor) -> Tensor:
    """Poses of one bone, each in a batch of its own."""
    end = torch.eye(3)[:1].to(length)
    pred = torch.stack([0 * end, end]) * length[:, None, None, None]
    target = torch.stack([0 * end, end]).squeeze(1)[None]
    poses = pred.squeeze(2)
    return torch.cat([loss(x[None], target)[0] for x in poses])


@inputs('offset', 'offset of the root, at depth 2', line(-3, 3),
        dict(joint_parents=[0, 0]))
def root(loss: Any, offset: Tensor) -> Tensor:
    """A pose without labels that moves across the image."""
    pose = torch.eye(3)[:2].to(offset).expand(len(offset), 2, 3)
    place = torch.stack([offset, 0 * offset, 0 * offset + 2], dim=-1)
    output = dict(
        labeled_pose=pose, unlabeled_pose=pose, unlabeled_traj=place[:, None])
    intrinsics = torch.tensor([[1.0, 1, 0, 0]]).to(offset)
    target = dict(
        unlabeled_target_2d=pose[..., :2] / 2,
        intrinsics=intrinsics.expand(len(offset), 4))
    return loss(output, target)['proj_loss']


@inputs('log variance', 'log variance s', line(-5, 5, 101),
        dict(losses=[dict(type='mmlosses.L1Loss')], weighting='uncertainty'))
def log_variance(loss: Any, log_var: Tensor, error: float) -> Tensor:
    """One loss of an error, weighted by its log variance."""
    pred = torch.full((1, ), error).to(log_var)
    return torch.cat([
        functional_call(loss, dict(log_vars=each), (pred, 0 * pred))
        for each in log_var[:, None]
    ])


def boxes(loss: Any, offset: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Boxes against one of 40 x 24 pixels, relative to its sides."""
    sides = torch.tensor([40, 24]).to(offset)
    target = torch.cat([100 - sides / 2, 100 + sides / 2])
    centre = 100 + offset[:, None] * sides
    half = torch.stack([width, height], dim=-1) * sides / 2
    pred = torch.cat([centre - half, centre + half], dim=-1)
    value = loss(pred, target.expand_as(pred))
    return value if value.ndim == 1 else value.sum(dim=-1)


@inputs('offset', 'offset / size of target', line(0, 2))
def box_offset(loss: Any, offset: Tensor) -> Tensor:
    """A box of another shape that moves away along the diagonal."""
    return boxes(loss, offset, 0 * offset + 0.7, 0 * offset + 1.5)


OCTAVES: Any = line(-2, 2), {}, torch.exp2, (0.25, 0.5, 1, 2, 4)


@inputs('scale', 'scale relative to target', *OCTAVES)
def box_scale(loss: Any, octaves: Tensor) -> Tensor:
    """The target, with both sides scaled."""
    return boxes(loss, 0 * octaves, 2**octaves, 2**octaves)


@inputs('aspect ratio', 'aspect ratio relative to target', *OCTAVES)
def box_aspect(loss: Any, octaves: Tensor) -> Tensor:
    """The target with another aspect ratio and the same area."""
    return boxes(loss, 0 * octaves, 2**(octaves / 2), 2**(-octaves / 2))


def rotated_boxes(loss: Any, offset: Tensor, angle: Tensor) -> Tensor:
    """Boxes of 4 x 2 strides, or their corners and points between them."""
    none = torch.zeros_like(offset)
    pred = torch.stack([offset, none, none + 4, none + 2, angle], dim=-1)
    target = torch.tensor([0, 0, 4, 2, 0.0]).to(offset).expand_as(pred)
    if type(loss).info.expects == 'points':
        pred, target = corners_of(pred), corners_of(target)
        middle = (pred + pred.roll(2, -1)) / 2
        pred = torch.cat([pred, middle, (middle[:, :2] + middle[:, 4:6]) / 2],
                         dim=-1)
    if type(loss).__name__ == 'KFLoss':  # deltas of the target as anchor
        return loss(
            pred / 4, target / 4, pred_decode=pred, targets_decode=target)
    return loss(pred, target)


@inputs('offset', 'offset / width', line(-1.5, 1.5))
def rotated_offset(loss: Any, offset: Tensor) -> Tensor:
    """A box that passes over its target, turned by half a radian."""
    return rotated_boxes(loss, 4 * offset, 0 * offset + 0.5)


@inputs('angle', 'angle in degrees', line(-180, 180))
def rotated_angle(loss: Any, angle: Tensor) -> Tensor:
    """The target, turned about its centre."""
    return rotated_boxes(loss, 0 * angle, angle * math.pi / 180)


def boxes_3d(loss: Any, offset: Tensor, yaw: Tensor) -> Tensor:
    """Boxes of 4 x 2 x 2, as corners or centre, sizes and yaw."""
    none = torch.zeros_like(offset)
    size = torch.tensor([4, 2, 2.0]).to(offset).expand(len(offset), 3)
    pred = torch.stack([offset, none, none], dim=-1)
    if loss.coordinates[-1] != 'yaw':
        corner = size / 2
        return loss(
            torch.cat([pred - corner, pred + corner], dim=-1),
            torch.cat([-corner, corner], dim=-1))
    pred, target = [
        torch.cat([centre, size, angle.unsqueeze(-1)], dim=-1)
        for centre, angle in ((pred, yaw), (0 * pred, none))
    ]
    return loss(pred, target)


@inputs('offset', 'offset / length', line(-1.5, 1.5))
def offset_3d(loss: Any, offset: Tensor, yaw: float = 0.0) -> Tensor:
    """A box that passes over its target, turned by the yaw."""
    return boxes_3d(loss, 4 * offset, 0 * offset + yaw)


@inputs('offset', 'error of the offset in degrees', line(-180, 180))
def bin_offset(loss: Any, error: Tensor) -> Tensor:
    """One bin, of which the scores are sure."""
    error = error * math.pi / 180
    sure = torch.tensor([0, 50.0]).to(error).expand(len(error), 2)
    pred = torch.cat([sure, error.sin()[:, None], error.cos()[:, None]], 1)
    target = torch.tensor([1, 0.0]).to(error).expand(len(error), 2)
    return loss(pred, target)


@inputs('x', 'x of a point', line(-3, 3))
def point(loss: Any, x: Tensor) -> Tensor:
    """A point that passes over two others, at -1 and 1."""
    source = torch.stack([x, 0 * x], dim=-1).unsqueeze(1)
    target = torch.tensor([[-1, 0], [1, 0.0]]).to(x).expand(len(x), 2, 2)
    one, other = loss(source, target)
    return one.flatten(1).sum(1) + other.flatten(1).sum(1)


@inputs('offset', 'offset of an object of 9 x 9 pixels', line(-14, 14, 113),
        dict(reduction='mean'))
def moved_object(loss: Any, offset: Tensor) -> Tensor:
    """Maps of an object with soft edges, beside its place."""
    place = torch.arange(-18, 19).to(offset)

    def logits(offset: Any) -> Tensor:
        along, across = [5 - (place - x).abs() for x in (offset, 0)]
        return 2 * torch.minimum(along[:, None], across)

    labels = (logits(0) > 0).long()[None]
    maps = [logits(x) / 2 for x in offset]
    return torch.stack(
        [loss(torch.stack([-x, x])[None], labels) for x in maps])


@inputs('logit', 'logit of a pixel; 5 % are on an edge', line(-6, 6))
def edge_pixel(loss: Any, logit: Tensor, target: int) -> Tensor:
    """Pixels on an edge or off it, in an edge map."""
    values = torch.tensor([target, 1 - target] + [0] * 18)
    targets = values.repeat_interleave(len(logit))
    return loss(pad(logit, (0, 19 * len(logit))), targets)[:len(logit)]


@inputs('factor', 'predicted by true depth', line(0.3, 3),
        dict(reduction='none'))
def depth(loss: Any, factor: Tensor) -> Tensor:
    """Depth maps that are too far or too near, with some noise."""
    truth = torch.tensor([1.0, 2, 3, 4]).to(factor).expand(len(factor), 4)
    noise = torch.tensor([1.1, 0.9, 1.1, 0.9]).to(factor)
    return loss(factor[:, None] * noise * truth, truth)


@inputs('angle', 'angle between two kernels', line(0, 180))
def kernels(loss: Any, angle: Tensor) -> Tensor:
    """Two kernels in the plane."""
    turned = angle * math.pi / 180
    bank = torch.stack(
        [1 + 0 * turned,
         turned.cos(), 0 * turned,
         turned.sin()], dim=-1).unflatten(-1, (2, 2))
    return loss([SimpleNamespace(weight_bank=x, num_kernels=2) for x in bank])


@lru_cache(maxsize=None)
def cases() -> Dict[str, Any]:
    """The row of each loss in tests/cases."""
    sys.path.append(str(ROOT / 'tests'))
    from cases import CASES
    sys.path.pop()
    return {case.loss.__name__: case for case in CASES}


@inputs('entry', 'correlation of two features', line(-1, 1.5))
def entry(loss: Any, value: Tensor, same: bool = True) -> Tensor:
    """An entry of a matrix, on the diagonal or beside it."""
    where = torch.eye(2) if same else 1 - torch.eye(2)
    matrix = value[:, None, None] * where.to(value)
    return loss(matrix)[:, 0, int(not same)]


@inputs('error', 'prediction − teacher', line(-2, 2))
def latent(loss: Any, error: Tensor) -> Tensor:
    """A feature of patches with two equal scores."""
    labels = torch.zeros(len(error), dtype=torch.long)
    return loss(
        error.new_zeros(len(error), 2), labels, error[:, None],
        error.new_zeros(len(error), 1))[1]


@inputs('angle', 'angle to the other view, degrees', line(0, math.pi / 2, 81),
        dict(feat_dim=2, num_prototypes=2), torch.rad2deg, range(0, 91, 30),
        'radian')
def cluster(loss: Any, angle: Tensor) -> Tensor:
    """One view of an image, beside another image in the other cluster."""
    loss.prototypes.weight.data.copy_(torch.eye(2))
    fixed = torch.eye(2).to(angle)
    return torch.stack([
        loss(torch.cat([fixed, each[None], fixed[1:]]))[0]
        for each in direction(angle)
    ])


@inputs('offset', '0: perfect, 1: random prediction', line(0, 1, 81))
def of_case(loss: Any, share: Tensor, term: str = '') -> Tensor:
    """A prediction on its way from perfect to the sample of the case."""
    case = cases()[type(loss).__name__]

    def between(share: Tensor, start: Any, end: Any) -> Any:
        if isinstance(start, (list, tuple)):
            return [between(share, *pair) for pair in zip(start, end)]
        # The rest would be invisible beside the logit 100 of a certain class.
        size = start.abs().max()
        start = start * (8 / size) if size >= 100 else start
        return start + share * (end - start)

    end, target = case.sample(2, torch.float64)
    start = map_tensors(torch.zeros_like, end)
    if case.perfect is not None:
        perfect = replace(case, inputs=case.perfect)
        start, target = perfect.sample(2, torch.float64)
    preds = [between(each, start, end) for each in share]
    if term:
        return torch.stack([loss(pred, target)[term].sum() for pred in preds])
    return torch.stack([case.run(loss, pred, target).sum() for pred in preds])


# --- the table ---
# yapf: disable

GAUSSIAN_FOCAL = 'GaussianFocalLoss'
BCE = [
    Curve('CrossEntropyLoss', 'BCE', use_sigmoid=True),
    *sweep('BalancedBCELoss', 'ratio {}', 'negative_ratio', (10, 3, 1)),
]
MARGINS = [
    Curve('NormFaceLoss', scale=SCALE),
    Curve('ModifiedSoftmaxLoss', 'modified, |x| = 8', length=8.0),
    Curve('ArcFaceLoss', 'ArcFace, keep', scale=SCALE),
    Curve('ArcFaceLoss', 'ArcFace, easy', 1, scale=SCALE, boundary='easy'),
    Curve('ArcFaceLoss', 'continuous', 1, scale=SCALE, boundary='continuous'),
    Curve('ArcFaceLoss', 'none', 2, scale=SCALE, boundary='none'),
]
HALVES = [dict(type='mmlosses.MSELoss', loss_weight=0.5),
          dict(type='mmlosses.L1Loss', loss_weight=0.5)]

FAMILIES: Dict[str, Family] = {
    'boxes': Family(box_offset, [
        Curve('IoULoss', 'IoU, log'),
        Curve('IoULoss', 'IoU, linear', mode='linear'),
        Curve('GIoULoss'),
        Curve('DIoULoss', dash=1),
        Curve('MPDIoULoss'),
        Curve('IoULoss', 'IoU, square', mode='square'),
        Curve('CIoULoss'),
        Curve('SIoULoss', dash=1),
        Curve('EIoULoss'),
        Curve('EIoULoss', 'Focal-EIoU 0.5', focal_gamma=0.5),
        Curve('ShapeIoULoss', 'Shape-IoU 1', 2, scale=1.0),
        Curve('NWDLoss', 'NWD 12.8'),
        Curve('WIoULoss', 'WIoU v1', version=1),
        Curve('WIoULoss', 'WIoU v2', 1, version=2),
        Curve('WIoULoss', 'WIoU v3', version=3),
        Curve('InnerIoULoss', 'Inner-IoU 0.7', 2),
        Curve('AlphaIoULoss', 'alpha-IoU 3'),
    ], also=[box_scale, box_aspect],
        options=dict(axes=dict(ylim=(-0.1, 3.6)))),
    'rotated': Family(rotated_offset, [
        Curve('RotatedIoULoss', 'rotated IoU, linear', mode='linear'),
        Curve('RotatedIoULoss', 'rotated IoU, square', mode='square'),
        Curve('RotatedGIoULoss', 'rotated GIoU'),
        Curve('RotatedDIoULoss', 'rotated DIoU'),
        Curve('RotatedCIoULoss', 'rotated CIoU', 1),
        Curve('GDLoss', 'GWD', loss_type='gwd'),
        Curve('GDLoss', 'KLD', loss_type='kld', tau=1.0, sqrt=False),
        Curve('GDLoss_v1', 'KLD, first form', 1, loss_type='kld',
              fun='log1p'),
        Curve('GDLoss_v1', 'BCD, first form', 1, loss_type='bcd'),
        Curve('ProbIoULoss', 'ProbIoU'),
        Curve('KFLoss', 'KFIoU'),
        Curve('ConvexGIoULoss', 'convex GIoU', 2),
        Curve('BCConvexGIoULoss', 'BC convex GIoU'),
        Curve('SpatialBorderLoss', 'spatial border'),
        Curve('H2RBoxConsistencyLoss', 'H2RBox consistency'),
    ], also=[rotated_angle]),
    'boxes_3d': Family(offset_3d, [
        Curve('AxisAlignedIoULoss', 'axis-aligned'),
        *sweep('RotatedIoU3DLoss', 'rotated, yaw {}', 'yaw', (0.5, 1)),
    ], [Panel(bin_offset, [Curve('MultiBinLoss')], 'MultiBin in its bin'),
        Panel(point, sweep('ChamferDistance', '{}', 'mode',
                           ('l2', 'l1', 'smooth_l1')), 'Chamfer distance'),
        Panel(kernels, [Curve('PAConvRegularizationLoss')],
              'regularization of PAConv')]),
    'cross_entropy': Family(margin, [
        Curve('CrossEntropyLoss', 'no smoothing'),
        *sweep('LabelSmoothLoss', 'smoothing {}', 'smoothing', (0.1, 0.3)),
        Curve('LabelSmoothLoss', '0.3, uniform', 1, smoothing=0.3,
              distribute='uniform'),
        Curve('CrossEntropyCustomLoss', 'V3Det', 2, num_classes=9),
    ], [Panel(logit, [
        *sweep('CrossEntropyLoss', 'target {}', 'target', (1, 0.7, 0),
               use_sigmoid=True),
        Curve('BCELoss', 'BCE, target 0', 1, target=0.0),
    ], 'loss vs. logit, sigmoid', minima=True),
        Panel(matches, sweep('MultiPosCrossEntropyLoss', 'positives: {}',
                             'positives', (1, 2, 4)),
              'several positives')],
        options=dict(minima=True)),
    'focal': Family(logit._replace(
        name='probability', label='probability of the true class',
        at=probability.at, shown=torch.sigmoid, xticks=None, per='logit'),
        sweep('FocalLoss', 'γ = {}', 'gamma', (0, 0.5, 1, 2, 5), alpha=None),
        [Panel(logit, [
            Curve('FocalLoss', 'positive'),
            Curve('FocalLoss', 'negative', target=0.0),
            Curve('FocalCustomLoss', 'V3Det, negative', 1, target=0.0,
                  num_classes=1),
            Curve('AsymmetricLoss', 'asymmetric, positive'),
            Curve('AsymmetricLoss', 'asymmetric, negative', target=0.0),
        ], 'loss, γ = 2, α = 0.25')]),
    'quality_focal': Family(quality, [
        *sweep('QualityFocalLoss', 'QFL, quality {}', 'target', (1, 0.6, 0)),
        *sweep('VarifocalLoss', 'VFL, quality {}', 'target', (0.6, 0)),
        Curve('VariFocalLoss', 'mmpose, 0.6', 1, target=0.6),
    ], [Panel(distance, sweep('DistributionFocalLoss', 'target {}', 'target',
                              (1, 1.5, 2.8)), 'DFL', minima=True)],
        options=dict(minima=True)),
    'gradient_harmonizing': Family(negatives, [
        Curve('CrossEntropyLoss', 'BCE', use_sigmoid=True),
        Curve('FocalLoss', 'focal', alpha=None),
        *sweep('GHMC', 'GHM-C, {} bins', 'bins', (10, 30)),
    ], [Panel(deltas, [
        Curve('SmoothL1Loss', 'smooth L1, β = 1/9', beta=1 / 9),
        *sweep('GHMR', 'GHM-R, {} bins', 'bins', (10, 30)),
    ])], options=dict(
        axes=dict(xlim=(-4, 2.7), yscale='log', ylim=(3e-3, 60)))),
    'long_tail': Family(rival, [
        Curve('SeesawLoss', 'cross entropy', p=0.0, q=0.0),
        *sweep('SeesawLoss', 'Seesaw, share {}', 'share', (1, 0.1, 0.01)),
    ], [Panel(gradient_ratio, [
        Curve('EQLV2Loss', 'EQLv2, positive', true_class=0),
        Curve('EQLV2Loss', 'EQLv2, negative', true_class=1),
    ])]),
    'hard_negative': Family(
        negatives, BCE, [Panel(bias, BCE, minima=True)],
        options=dict(axes=dict(xlim=(-4, 2.7)))),
    'mask': Family(patch, [
        *sweep('DiceLoss', 'Dice, target {}', 'target', (0.5, 1)),
        *sweep('DiceLoss', 'naive, target {}', 'target', (0.5, 1),
               naive_dice=True),
    ], options=dict(minima=True)),
    'segmentation': Family(moved_object, [
        Curve('LovaszLoss', 'Lovász'),
        Curve('TverskyLoss', 'Tversky, α = 0.3'),
        Curve('TverskyLoss', 'Tversky, α = 0.7', alpha=0.7, beta=0.3),
        Curve('TverskyLoss', 'focal Tversky', 1, gamma=4 / 3),
    ], [
        Panel(moved_object, [Curve('ClDiceLoss', 'clDice')],
              'clDice: only the centre line counts'),
        Panel(moved_object, sweep('HausdorffDistanceLoss', 'α = {}', 'alpha',
                                  (1, 2)), 'Hausdorff'),
        Panel(moved_object, sweep('OhemCrossEntropy', 'min_kept = {}',
                                  'min_kept', (20, 80, 320), thres=None),
              'OHEM cross entropy'),
        Panel(edge_pixel, [
            Curve('BoundaryLoss', 'on an edge', target=1),
            Curve('BoundaryLoss', 'elsewhere', target=0)], 'PIDNet boundary'),
    ]),
    'regression': Family(
        number, [Curve('L1Loss'), Curve('MSELoss'), Curve('SmoothL1Loss')],
        [Panel(number, sweep('SmoothL1Loss', 'β = {}', 'beta',
                             (0, 0.3, 1, 2)), 'smooth L1 by β'),
         Panel(pixels, [Curve('WingLoss', 'wing'),
                        Curve('SoftWingLoss', 'soft wing'),
                        Curve('L1Loss')], 'wing losses'),
         Panel(depth, sweep('SiLogLoss', 'λ = {}', 'lambd', (0, 0.5, 0.85, 1)),
               'SiLog', axes=dict(ylim=(0, 1.5)))]),
    'angular': Family(angle, [
        Curve('AngularLoss', 'directions'),
        Curve('AngularLoss', 'lines', 1, times=2, period='half'),
    ], [Panel(angle, sweep('AngularLoss', 'δ = {}', 'delta',
                           (0, 0.2, 0.5, 1)), 'directions, by δ')]),
    'heatmap': Family(peak, [
        *sweep(GAUSSIAN_FOCAL, 'target {}', 'target', (1, 0.8, 0.5, 0)),
        Curve('FocalHeatmapLoss', 'FocalHeatmap, target 1', 2),
    ], [
        Panel(peak, sweep(GAUSSIAN_FOCAL, 'γ = {}', 'gamma', (1, 2, 4),
                          target=0.8),
              'loss at target 0.8, by γ'),
        Panel(pixel, [
            Curve('AdaptiveWingLoss', 'adaptive wing, target 1'),
            Curve('AdaptiveWingLoss', 'adaptive wing, target 0', target=0.0),
            Curve('KeypointMSELoss', 'MSE'),
            Curve('KeypointOHKMMSELoss', 'MSE, one keypoint of OHKM', 2),
            Curve('CombinedTargetMSELoss', 'combined target', channels=3),
        ], axes=dict(yscale='log', ylim=(1e-3, 30)))]),
    'simcc': Family(
        bins, sweep('KLDiscretLoss', 'σ = {}', 'spread', (2, 4, 8, 16)),
        [Panel(bins, [
            Curve('KLDiscretLoss', 'density'),
            Curve('KLDiscretLoss', 'softmax of density', label_softmax=True),
            *sweep('KLDiscretLoss', 'softmax of peak 1, β = {}', 'beta',
                   (1, 10), peak=True, label_softmax=True),
        ], 'loss by target', axes=dict(yscale='log', ylim=(0.1, 3000))),
         Panel(likelihood, sweep('MLECCLoss', 'MLECC, {}', 'mode',
                                 ('log', 'linear', 'square')),
               'loss of a likelihood'),
         Panel(density, sweep('JSDiscretLoss', 'JS, σ = {}', 'spread',
                              (2, 4, 8, 16)), 'Jensen-Shannon divergence')]),
    'keypoint_similarity': Family(
        similarity, [*sweep('OKSLoss', '{}', 'mode',
                            ('linear', 'square', 'log')),
                     Curve('OksLoss', 'mmyolo')],
        [Panel(similarity, [
            Curve('OKSLoss', 'eye, σ = 0.025', sigmas=[0.025]),
            Curve('OKSLoss', 'shoulder, σ = 0.079', sigmas=[0.079]),
            Curve('OKSLoss', 'hip, σ = 0.107', sigmas=[0.107]),
        ], 'loss by keypoint')], options=dict(axes=dict(ylim=(-0.2, 8)))),
    'pose_3d': Family(joint, [
        Curve('MPJPELoss'),
        Curve('MPJPEVelocityJointLoss', 'MPJPE, velocity / 20', frames=2,
              lambda_3d_velocity=1.0),
    ], [Panel(bone, [Curve('BoneLoss')]),
        Panel(root, [Curve('SemiSupervisionLoss', 'projection')])]),
    'probabilistic': Family(
        mean, sweep('PROPELLoss', 'σ = {}', 'spread', (0.05, 0.1, 0.2, 0.4)),
        [Panel(deviation, sweep('KeypointPROPELLoss', 'error {}', 'error',
                                (0, 0.1, 0.2, 0.4)),
               minima=True, axes=dict(ylim=(-0.2, 6))),
         Panel(residual, [
             Curve('RLELoss', 'RLE, Laplacian'),
             Curve('RLELoss', 'RLE, Gaussian', q_distribution='gaussian'),
             Curve('RLELoss', 'RLE, flow alone', residual=False),
         ], 'RLE with a new flow'),
         Panel(log_deviation, [
             *sweep('UncertainL1Loss', 'L1, error {}', 'error', (0.1, 1, 10)),
             Curve('UncertainSmoothL1Loss', 'smooth L1, error 1', error=1),
         ], 'uncertain L1', minima=True, axes=dict(ylim=(-4, 12)))]),
    'corners': Family(tags, [
        Curve('AssociativeEmbeddingLoss', 'pull'),
        *sweep('AssociativeEmbeddingLoss', 'push, margin {}', 'margin', (1, 2),
               push=True),
    ], [Panel(of_case, sweep('CornerNetLoss', '{}', 'term', (
        'focal_loss', 'pull_loss', 'push_loss', 'regr_loss')),
              'CornerNet, % of largest',
              convert=lambda loss: 100 * loss / loss.max())]),
    'margin': Family(features, MARGINS, [
        Panel(features, MARGINS, 'logit of the true class', legend=False,
              # The logit of the other one of two classes is 0.
              convert=lambda loss: -loss.expm1().log()),
        Panel(cosine, [
            Curve('ArcFaceLogitLoss', 'ArcFaceLogit, object', scale=SCALE),
            Curve('ArcFaceLogitLoss', 'ArcFaceLogit, background',
                  background=1, scale=SCALE),
        ], 'loss in a detector')]),
    'center': Family(feature, [
        Curve('CenterLoss', 'centre loss'),
        *sweep('CenterSoftmaxLoss', 'softmax, λ = {}', 'center_weight',
               (0, 0.05, 0.2)),
    ]),
    'cosine': Family(
        embedding, sweep('CCSLoss', 'IoU {}', 'iou', (1, 0.9, 0.7, 0.5))),
    'embedding': Family(triplet, [
        Curve('TripletLoss', 'triplet, margin 0.3'),
        Curve('TripletLoss', 'margin 0', margin=0.0),
        Curve('TripletLoss', 'margin 1', margin=1.0),
    ], [Panel(pair, [
            Curve('MarginL2Loss', 'margin L2, positive'),
            Curve('MarginL2Loss', 'not clamped', 1, clamp_positives=False),
            *sweep('MarginL2Loss', 'negative, margin {}', 'neg_margin',
                   (0.1, 0.5), target=0.0),
        ]),
        Panel(own_key, sweep('InfoNCELoss', 'InfoNCE, τ = {}', 'temperature',
                             (1, 0.5, 0.2)))]),
    'self_supervised': Family(angle, [
        Curve('CosineSimilarityLoss', 'cosine similarity'),
        Curve('CosineSimilarityLoss', 'as in MILAN', shift_factor=2.0,
              scale_factor=2.0),
    ], [Panel(number, sweep('PixelReconstructionLoss', '{}', 'criterion',
                            ('L1', 'L2')), 'reconstruction'),
        Panel(latent, [Curve('CAELoss', 'CAE, features', lambd=2)]),
        Panel(entry, [
            Curve('CrossCorrelationLoss', 'on the diagonal'),
            *sweep('CrossCorrelationLoss', 'beside it, λ = {}', 'lambd',
                   (0.0051, 0.1), same=False),
        ], 'cross correlation'),
        Panel(cluster, sweep('SwAVLoss', 'SwAV, τ = {}', 'temperature',
                             (0.1, 0.3)), 'swapped prediction')]),
    'distillation': Family(
        student, sweep('KnowledgeDistillationKLDivLoss', 'T = {}', 'T',
                       (1, 4, 10), bin_reduction='sum')
        + [Curve('KLDivLoss', 'KLDivLoss, mean', 2)], [
            Panel(teacher_bins, sweep('KDLoss', 'KD, β = {}', 'beta',
                                      (1, 3, 10)), 'loss of bins'),
            Panel(feature_map, [Curve('FeaLoss', 'α = 1', alpha_fea=1.0)],
                  'features of a pixel'),
            Panel(channel, sweep('ChannelWiseDivergence', 'τ = {}', 'tau',
                                 (1, 2, 4)), 'one channel')]),
    'composite': Family(number, [
        Curve('MSELoss', 'MSE / 2', loss_weight=0.5),
        Curve('L1Loss', 'L1 / 2', loss_weight=0.5),
        Curve('SumLoss', 'sum', losses=HALVES),
    ], [Panel(log_variance, sweep('SumLoss', 'L = {}', 'error', (0.1, 1, 10)),
              minima=True, axes=dict(ylim=(-2, 8))),
        Panel(of_case, [
            Curve('MultipleLossWrapper', 'list of losses', losses=HALVES),
            Curve('CombinedLoss', 'dict of losses', 1,
                  losses=dict(zip(('one', 'other'), HALVES)))])]),
}
# yapf: enable


def losses_of(family: Family) -> List[str]:
    """The names of the losses in a picture."""
    panels = sum(family.rows(), [])
    return sorted({curve.loss for panel in panels for curve in panel.curves})


@lru_cache(maxsize=None)
def families() -> Dict[str, Family]:
    """The pictures, with every loss of the registry."""
    MODELS.import_from_location()
    found = dict(FAMILIES)
    drawn = {name for family in found.values() for name in losses_of(family)}
    for kind in dict.fromkeys(MODELS.module_dict.values()):
        package, _, module = kind.__module__.partition('.losses.')
        if package != 'mmlosses' or kind.__name__ in drawn:
            continue
        folder = module.partition('.')[0]
        family = found.setdefault(folder, Family(of_case, []))
        default = family.inputs is of_case
        needed = any([
            each.default is each.empty
            for each in inspect.signature(kind).parameters.values()
        ])
        kwargs = cases()[kind.__name__].kwargs if default or needed else {}
        family.curves.append(Curve(kind.__name__, **kwargs))
    return found


def draw(family: Family, theme: Theme, card: bool = False) -> Figure:
    """Draw the panels of a family, or the first one alone as a card."""
    rows = [family.rows()[0][:1]] if card else family.rows()
    size = CARD if card else PAGE if len(rows) < 3 else TALL
    with rc_context(settings(theme, size)):
        figure = Figure((size.width, size.height * len(rows)), size.dpi)
        grid = figure.subplots(len(rows), max(map(len, rows)), squeeze=False)
        for panels, row in zip(rows, grid):
            for panel, axes in zip(panels, row):
                axes.locator_params(nbins=size.ticks, steps=[1, 2, 5, 10])
                panel.draw(axes, card)
            for axes in row[len(panels):]:
                axes.set_axis_off()
    return figure


def draw_family(name: str, folder: Path) -> List[str]:
    """Write the pictures of a family; returns the names of its losses."""
    folder.mkdir(parents=True, exist_ok=True)
    family = families()[name]
    for theme in THEMES:
        for stem, card in (('curves', False), ('card', True)):
            path = folder / f'{stem}{theme.suffix}.png'
            save(draw(family, theme, card), path, theme)
    return losses_of(family)


def main(description: str | None = None) -> None:
    """Draw the families that the command line names."""
    names = list(families())
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--family',
        nargs='+',
        default=names,
        metavar='NAME',
        help=f'any of {", ".join(names)} (default: all)')
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'configs',
        help='folder with one folder per family (default: configs)')
    args = parser.parse_args()
    with one_line_errors(OSError, ValueError):
        for name in args.family:
            if name not in names:
                raise ValueError(f'{name} is not a family of losses' +
                                 did_you_mean(name, names))
        for name in args.family:
            losses = draw_family(name, args.out / name)
            print(f'{args.out / name}: {", ".join(losses)}', flush=True)
