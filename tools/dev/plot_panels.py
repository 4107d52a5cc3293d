"""What each picture of tools/plot_losses.py shows: a table of panels.

A panel is a function that draws into the axes of a :class:`Panel`. Every
number is that of a loss of the registry, called as users call it.
"""
from __future__ import annotations
import math
from functools import partial
from typing import (Any, Callable, Collection, Dict, List, Mapping, NamedTuple,
                    Sequence, Set, Tuple)

import numpy as np
import torch
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from mmengine.registry import MODELS
from plot_style import PAGE, TALL, Size
from torch import Tensor, nn

# The loss of each of some numbers.
Call = Callable[[Tensor], Tensor]

# A line and a gap. The lines of the next dashed curve are in the gaps.
DASHES = (2.4, 2.4)
DASHED = (0, DASHES)


class Panel:
    """Axes, and which losses have been drawn into them.

    Args:
        axes (Axes): Where it is drawn.
        brief (bool): Whether the picture is a card, with room for few curves.
    """

    def __init__(self, axes: Axes, brief: bool = False) -> None:
        self.axes = axes
        self.brief = brief
        self.losses: Set[str] = set()
        # As they are now: 'C0' would be looked up when the figure is saved.
        self.colors: List[str] = rcParams['axes.prop_cycle'].by_key()['color']

    def build(self, name: str, **options: Any) -> Any:
        """Build a loss that gives one number for each element."""
        options = {'reduction': 'none', **options}
        loss = MODELS.build(dict(type=f'mmlosses.{name}', **options))
        self.losses.add(type(loss).__name__)
        return loss.eval()

    def plot(
        self,
        at: Tensor,
        calls: Mapping[str, Call],
        slope: bool = False,
        shown: Tensor | None = None,
        dashed: Sequence[str] = (),
        wide: Collection[str] = ()
    ) -> None:
        """Draw the value of each loss, or its derivative.

        Args:
            at (Tensor): Where they are called.
            calls (dict[str, Callable]): The losses, by their label.
            slope (bool): Whether the derivative is drawn.
            shown (Tensor, optional): What is on the axis instead of ``at``.
            dashed (Sequence[str]): Labels of dashed curves.
            wide (Collection[str]): Labels of those that others lie on.
        """
        shown = at if shown is None else shown
        line = rcParams['lines.linewidth']
        for label, call in calls.items():
            style: Any = '-'
            if label in dashed:
                style = (DASHES[0] * dashed.index(label), DASHES)
            self.axes.plot(
                shown.numpy(),
                curve(call, at)[slope].numpy(),
                linestyle=style,
                linewidth=2 * line if label in wide else line,
                label=label)

    def surface(self, xs: Tensor, ys: Tensor, call: Callable[[Tensor, Tensor],
                                                             Tensor],
                levels: Sequence[float]) -> None:
        """Fill the contours of a loss of two numbers."""
        y, x = torch.meshgrid(ys, xs, indexing='ij')
        value = call(x.flatten(), y.flatten()).detach().reshape(x.shape)
        grid = xs.numpy(), ys.numpy(), value.numpy()
        shades = LinearSegmentedColormap.from_list(
            'surface', [self.axes.get_facecolor(), self.colors[0]], 256)
        self.axes.contourf(
            *grid,
            levels=levels,
            colors=shades(np.linspace(0, 0.75, len(levels))),
            extend='max',
            zorder=0)
        lines = self.axes.contour(
            *grid, levels=levels[1:], colors='0.5', linewidths=0.5)
        if not self.brief:
            self.axes.clabel(
                lines,
                fmt='%g',
                colors=self.axes.xaxis.label.get_color(),
                fontsize=7)
        self.axes.grid(False)

    def dress(self,
              title: str,
              xlabel: str,
              legend: Any = None,
              **options: Any) -> None:
        """Say what is on the axes.

        Args:
            title (str): The title.
            xlabel (str): What is on the x-axis, and its unit.
            legend (str, optional): Where the legend is, if there is one.
            **options: Of :meth:`Axes.set`.
        """
        self.axes.set(title=title, xlabel=xlabel, **options)
        if legend is not None:
            self.axes.legend(loc=legend)


def curve(call: Call, at: Tensor) -> Tuple[Tensor, Tensor]:
    """Value and derivative of a loss at each of some numbers.

    Args:
        call (Callable): The loss (N,) of N numbers, each for itself.
        at (Tensor): The numbers (N,).

    Returns:
        tuple[Tensor]: (N,) and (N,).
    """
    at = at.detach().requires_grad_()
    value = call(at)
    slope, = torch.autograd.grad(value.sum(), at)
    return value.detach(), slope


def line(low: float, high: float, steps: int = 401) -> Tensor:
    """Numbers at even distances."""
    return torch.linspace(low, high, steps, dtype=torch.float64)


def against(loss: nn.Module, target: float, pred: Tensor) -> Tensor:
    """The loss of predictions that have one target."""
    return loss(pred, torch.full_like(pred, target))


# --- regression ---


def regression(panel: Panel, slope: bool) -> None:
    """L1, L2 and smooth L1, as textbooks draw them."""
    calls = {
        'L1': partial(against, panel.build('L1Loss'), 0.0),
        'MSE (L2)': partial(against, panel.build('MSELoss'), 0.0),
        'smooth L1': partial(against, panel.build('SmoothL1Loss'), 0.0),
    }
    panel.plot(line(-2, 2), calls, slope)
    if slope:
        panel.dress('gradient', 'error', yticks=range(-4, 5, 2))
    else:
        panel.dress('loss', 'error', legend='upper center', ylim=(-0.1, 4.1))


def smooth_l1_betas(panel: Panel) -> None:
    """From L1 to nearly half of L2."""
    calls = {
        f'β = {beta}':
        partial(against, panel.build('SmoothL1Loss', beta=beta), 0.0)
        for beta in (0, 0.3, 1, 2)
    }
    calls['L1'] = partial(against, panel.build('L1Loss'), 0.0)
    panel.plot(line(-2, 2), calls, dashed=['L1'])
    panel.dress('smooth L1 by β', 'error', legend='upper center')


# --- angular ---


def direction(angle: Tensor) -> Tensor:
    """Vectors (N, 2) of length 1."""
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def turned_away(loss: nn.Module, angle: Tensor, times: int = 1) -> Tensor:
    """The loss of directions whose target is the x-axis."""
    return loss(direction(times * angle), direction(torch.zeros_like(angle)))


def clipped_angle(angle: Tensor, delta: float = 0.2) -> Tensor:
    """What tutorials write: the only formula here that no loss computes."""
    return angle.cos().clamp(1e-6, 1 - 1e-6).acos()**(1 + delta)


def angular(panel: Panel, slope: bool) -> None:
    """Alive at every angle; lines turn back at a right one."""
    half = panel.build('AngularLoss', period='half')
    calls: Dict[str, Call] = {
        'full': partial(turned_away, panel.build('AngularLoss')),
        'half': partial(turned_away, half, times=2),
        'clipped acos': clipped_angle,
    }
    at = line(0, math.pi)
    panel.plot(at, calls, slope, shown=at.rad2deg(), dashed=['clipped acos'])
    panel.dress(
        'gradient, per radian' if slope else 'loss, δ = 0.2',
        'angle in degrees',
        legend=None if slope else 'upper left',
        xticks=range(0, 181, 90 if panel.brief else 45))


def angular_deltas(panel: Panel) -> None:
    """How steep it is."""
    calls = {
        f'δ = {delta}':
        partial(turned_away, panel.build('AngularLoss', delta=delta))
        for delta in (0, 0.2, 0.5, 1)
    }
    at = line(0, math.pi)
    panel.plot(at, calls, shown=at.rad2deg())
    panel.dress(
        'loss, full period',
        'angle in degrees',
        legend='upper left',
        xticks=range(0, 181, 45))


# --- propel ---

SIGMA = 0.1  # of the target


def propel(loss: nn.Module, mean: Tensor, sigma: Tensor) -> Tensor:
    """The loss of one predicted Gaussian, whose target is 0."""
    pred = torch.stack(torch.broadcast_tensors(mean, sigma), dim=-1)
    return loss(pred.unsqueeze(1), torch.zeros_like(pred[:, :1]))


def propel_surface(panel: Panel) -> None:
    """The loss over mean and deviation."""
    loss = panel.build('PROPELLoss', sigma=SIGMA)
    levels = [0, 0.1, 0.25, 0.5, 1, 2, 4]
    panel.surface(
        line(-0.5, 0.5, 201), line(0.02, 0.4, 200), partial(propel, loss),
        levels)
    panel.axes.plot(0, SIGMA, 'o', color=panel.colors[1], label='minimum')
    panel.dress(
        'loss, target 0 ± 0.1',
        'predicted mean',
        ylabel='predicted σ',
        legend='upper right')


def propel_means(panel: Panel, slope: bool) -> None:
    """The loss against the mean."""
    loss = panel.build('PROPELLoss', sigma=SIGMA)
    calls = {
        f'σ = {sigma}': partial(propel, loss, sigma=torch.tensor(sigma))
        for sigma in (0.05, 0.1, 0.2, 0.4)
    }
    panel.plot(line(-0.5, 0.5), calls, slope)
    panel.dress(
        'gradient' if slope else 'loss by σ',
        'predicted mean',
        legend=None if slope else 'upper center',
        ylim=None if slope else (-0.3, 11))


def keypoint(loss: nn.Module, error: float, sigma: Tensor) -> Tensor:
    """The loss of a keypoint, by the head's call."""
    sigma = sigma[:, None, None]
    return loss(torch.full_like(sigma, error), sigma,
                torch.zeros_like(sigma)).squeeze(1)


def propel_sigmas(panel: Panel) -> None:
    """A keypoint whose error stays wants the deviation to be larger."""
    loss = panel.build('KeypointPROPELLoss', sigma=SIGMA)
    calls = {
        f'error {error:g}': partial(keypoint, loss, error)
        for error in (0.0, 0.1, 0.2, 0.4)
    }
    at = line(0.02, 0.5)
    panel.plot(at, calls)
    for index, call in enumerate(calls.values()):
        mark_minimum(panel, call, at, panel.colors[index])
    panel.dress(
        'keypoint loss', 'predicted σ', legend='upper right', ylim=(-0.2, 6))


def mark_minimum(panel: Panel, call: Call, at: Tensor, color: str) -> None:
    """A dot at the least value of a curve."""
    value = call(at).detach()
    best = int(value.argmin())
    panel.axes.plot(at[best].item(), value[best].item(), 'o', color=color)


# --- cross entropy ---

CLASSES = 10
LOGITS = range(-6, 7, 3)  # on the axis


def margins(loss: nn.Module, classes: int = CLASSES) -> Call:
    """The loss of class 0, whose logit is above the others by a margin."""

    def call(margin: Tensor) -> Tensor:
        others = margin.new_zeros(len(margin), classes - 1)
        logits = torch.cat([margin.unsqueeze(1), others], dim=1)
        return loss(logits, torch.zeros(len(margin), dtype=torch.long))

    return call


def cross_entropy(panel: Panel, slope: bool) -> None:
    """Smooth labels want a margin, but no more than that."""
    calls = {'ε = 0': margins(panel.build('CrossEntropyLoss'))}
    for smoothing in (0.1, 0.3):
        calls[f'ε = {smoothing}'] = margins(
            panel.build('LabelSmoothLoss', smoothing=smoothing))
    calls['0.3, uniform'] = margins(
        panel.build('LabelSmoothLoss', smoothing=0.3, distribute='uniform'))
    at = line(-4, 12)
    panel.plot(at, calls, slope, dashed=['0.3, uniform'])
    if slope:
        panel.dress('gradient', 'logit above the others, 10 classes')
        return
    for index, call in enumerate(list(calls.values())[1:]):
        mark_minimum(panel, call, at, panel.colors[index + 1])
    panel.dress(
        'loss by smoothing ε',
        'logit above the others, 10 classes',
        legend='upper right',
        ylim=(-0.2, 7))


def binary_entropy(panel: Panel) -> None:
    """Each class for itself."""
    loss = panel.build('CrossEntropyLoss', use_sigmoid=True)
    calls = {
        f'target {target:g}': partial(against, loss, target)
        for target in (1.0, 0.7, 0.0)
    }
    at = line(-6, 6)
    panel.plot(at, calls)
    mark_minimum(panel, calls['target 0.7'], at, panel.colors[1])
    panel.dress('loss, sigmoid', 'logit', legend='upper center', xticks=LOGITS)


# --- focal ---

GAMMAS = (0, 0.5, 1, 2, 5)


def focal_gammas(panel: Panel, slope: bool) -> None:
    """Figure 1 of the paper, and what the gradient of it is."""
    calls = {}
    for gamma in GAMMAS:
        loss = panel.build('FocalLoss', gamma=gamma, alpha=None)
        calls[f'γ = {gamma}'] = partial(against, loss, 1.0)
    if slope:
        panel.plot(line(-6, 6), calls, slope)
        panel.dress('gradient', 'logit of the true class', xticks=LOGITS)
        return
    probability = line(0.005, 0.995)
    panel.plot(probability.logit(), calls, shown=probability)
    panel.dress(
        'loss by γ',
        'probability of the true class',
        legend='upper right',
        ylim=(-0.15, 5.3))


def focal_kinds(panel: Panel) -> None:
    """What a head adds up."""
    binary = panel.build('FocalLoss')
    choice = panel.build('FocalLoss', use_sigmoid=False)
    calls: Dict[str, Call] = {
        'positive': partial(against, binary, 1.0),
        'negative': partial(against, binary, 0.0),
        'softmax, 10 classes': margins(choice),
    }
    panel.plot(line(-6, 6), calls)
    panel.dress(
        'loss, γ = 2, α = 0.25', 'logit', legend='upper center', xticks=LOGITS)


# --- margin ---

SCALE = 16.0
BOUNDARIES = ('keep', 'continuous', 'easy', 'none')
SHARING = ('continuous', 'none')


def class_vectors(panel: Panel, name: str, **options: Any) -> Any:
    """A loss of two classes: along the first axis, and along the last."""
    loss = panel.build(name, num_classes=2, in_channels=3, **options)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    return loss


def turned(angle: Tensor, length: float) -> Tensor:
    """Features (N, 3) that turn away from the first class."""
    return length * torch.stack(
        [angle.cos(), angle.sin(),
         torch.zeros_like(angle)], dim=-1)


def first_class(angle: Tensor) -> Tensor:
    """Labels (N,) of the first class."""
    return torch.zeros(len(angle), dtype=torch.long)


def margin_losses(panel: Panel) -> Dict[str, Tuple[nn.Module, float]]:
    """The losses, and the length of the features that they get."""
    losses = {}
    if not panel.brief:
        plain = class_vectors(panel, 'ModifiedSoftmaxLoss')
        losses['modified, |x| = 4'] = plain, 4.0
        losses['modified, |x| = 8'] = plain, 8.0
    losses['NormFace'] = class_vectors(panel, 'NormFaceLoss', scale=SCALE), 1.0
    boundaries = BOUNDARIES[::3] if panel.brief else BOUNDARIES
    for boundary in boundaries:
        losses[f'ArcFace, {boundary}'] = class_vectors(
            panel, 'ArcFaceLoss', scale=SCALE, boundary=boundary), 1.0
    return losses


def target_logit(loss: Any, length: float, angle: Tensor) -> Tensor:
    """The logit of the label, with its margin."""
    return loss.with_margin(loss.logits(turned(angle, length))[:, 0])


def label_loss(loss: nn.Module, length: float, angle: Tensor) -> Tensor:
    """The loss of features that turn away from their class."""
    return loss(turned(angle, length), first_class(angle))


def margin_curves(panel: Panel,
                  function: Callable[..., Tensor],
                  slope: bool = False) -> None:
    """Draw what a function makes of each loss, against the angle."""
    calls = {
        label: partial(function, *pair)
        for label, pair in margin_losses(panel).items()
    }
    at = line(0, math.pi)
    panel.plot(
        at,
        calls,
        slope,
        shown=at.rad2deg(),
        # Those that share a curve up to the boundary.
        dashed=[label for label in calls if label.endswith(SHARING)],
        wide=['ArcFace, keep'])


def margin_logits(panel: Panel) -> None:
    """The logit of the label against its angle."""
    margin_curves(panel, target_logit)
    panel.dress(
        'logit of the label',
        'angle in degrees',
        legend='lower left',
        xticks=range(0, 181, 90 if panel.brief else 45))


def margin_values(panel: Panel, slope: bool) -> None:
    """The loss against the angle, with another class at 90 degrees."""
    margin_curves(panel, label_loss, slope)
    panel.dress(
        'gradient, per radian' if slope else 'loss, other class at 90°',
        'angle in degrees',
        xticks=range(0, 181, 45))


def margin_heads(panel: Panel) -> None:
    """The same loss, for heads that own the class vectors."""
    loss = panel.build('ArcFaceLogitLoss', scale=SCALE)
    arcface = class_vectors(panel, 'ArcFaceLoss', scale=SCALE)
    normface = class_vectors(panel, 'NormFaceLoss', scale=SCALE)

    def head(angle: Tensor, background: bool) -> Tensor:
        score = SCALE * angle.cos()
        scores = torch.stack([score, torch.zeros_like(score)], dim=1)
        label = first_class(angle)
        if background:
            return loss(scores.flip(1), 1 - label)
        return loss(scores, label)

    calls: Dict[str, Call] = {
        'ArcFace': partial(label_loss, arcface, 1.0),
        'ArcFaceLogit, object': partial(head, background=False),
        'NormFace': partial(label_loss, normface, 1.0),
        'ArcFaceLogit, background': partial(head, background=True),
    }
    at = line(0, math.pi)
    panel.plot(
        at,
        calls,
        shown=at.rad2deg(),
        dashed=['ArcFaceLogit, object', 'ArcFaceLogit, background'])
    panel.dress(
        'loss of a head',
        'angle in degrees',
        legend='upper left',
        xticks=range(0, 181, 45))


# --- center ---

MEANS = ((2.0, 1.0), (-1.0, 2.0), (-0.5, -2.0))


def samples() -> Tuple[Tensor, Tensor]:
    """Drawn features of three classes, the same in every picture."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    noise = torch.randn(90, 2, generator=generator, dtype=torch.float64)
    means = torch.tensor(MEANS, dtype=torch.float64)
    return means[labels] + 0.45 * noise, labels


def center_paths(panel: Panel) -> None:
    """Centres on their way, by six samples at a time."""
    features, labels = samples()
    axes = panel.axes
    for index in range(3):
        own = features[labels == index].numpy()
        axes.plot(
            *own.T,
            '.',
            color=panel.colors[index],
            markersize=3,
            alpha=0.6,
            zorder=1)
    loss = panel.build('CenterLoss', num_classes=3, in_channels=2).train()
    path = [loss.centers.clone()]
    for rows in torch.arange(90).split(6):
        loss(features[rows], labels[rows])
        path.append(loss.centers.clone())
    color = axes.xaxis.label.get_color()
    for index in range(3):
        steps = torch.stack(path)[:, index].numpy()
        axes.plot(
            *steps.T,
            'o-',
            color=color,
            linewidth=1,
            markersize=2.5,
            label='steps' if index == 0 else None)
    panel.dress(
        'centres, α = 0.5',
        'first feature',
        ylabel='second feature',
        legend='lower right',
        xlim=(-2.8, 3.4),
        ylim=(-3.4, 3.4))


def center_rates(panel: Panel) -> None:
    """The loss of all features while the centres come."""
    features, labels = samples()
    for alpha in (0.05, 0.2, 0.5, 1.0):
        loss = panel.build(
            'CenterLoss',
            num_classes=3,
            in_channels=2,
            alpha=alpha,
            reduction='mean')
        values = [loss(features, labels).item()]
        for rows in torch.arange(90).split(6):
            loss.train()(features[rows], labels[rows])
            values.append(loss.eval()(features, labels).item())
        panel.axes.plot(values, 'o-', markersize=2.5, label=f'α = {alpha}')
    panel.dress(
        'loss of all features',
        'step of the centres',
        legend='upper right',
        ylim=(0, None))


def along(loss: nn.Module, feature: Tensor) -> Tensor:
    """The loss of features of one number, of the first class."""
    return loss(feature.unsqueeze(1), first_class(feature))


def center_softmax(panel: Panel) -> None:
    """Beside cross entropy, features no longer grow for ever."""
    center = panel.build('CenterLoss', num_classes=2, in_channels=1)
    calls = {'centre loss': partial(along, center)}
    center.centers.fill_(2)
    for weight in (0.0, 0.05, 0.2):
        loss = panel.build(
            'CenterSoftmaxLoss',
            num_classes=2,
            in_channels=1,
            center_weight=weight)
        loss.centers.fill_(2)
        with torch.no_grad():
            loss.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        calls[f'softmax, λ = {weight:g}'] = partial(along, loss)
    panel.plot(line(-1, 5), calls)
    panel.dress(
        'loss, centre at 2',
        'feature along its class',
        legend='upper center',
        ylim=(-0.1, 4))


# --- ccs ---


def ccs(panel: Panel, slope: bool) -> None:
    """Half of 1 minus the cosine, times the IoU of the anchor."""
    loss = panel.build('CCSLoss')
    vectors = torch.tensor([[1.0, 0.0]], dtype=torch.float64)

    def call(angle: Tensor, iou: float | None) -> Tensor:
        weight = None if iou is None else torch.full_like(angle, iou)
        return loss(direction(angle), vectors, first_class(angle), weight)

    calls: Dict[str, Call] = {'hard': partial(call, iou=None)}
    for iou in (0.9, 0.7, 0.5):
        calls[f'soft, IoU {iou}'] = partial(call, iou=iou)
    at = line(-math.pi, math.pi)
    panel.plot(at, calls, slope, shown=at.rad2deg())
    panel.dress(
        'gradient, per radian' if slope else 'loss',
        'angle to the class vector, degrees'
        if not panel.brief else 'angle in degrees',
        legend=None if slope else 'upper center',
        ylim=None if slope else (-0.03, 1.05 if not panel.brief else 1.5),
        xticks=range(-180, 181, 180 if panel.brief else 90))


def ccs_anchors(panel: Panel) -> None:
    """An anchor that leaves its box, with an embedding 60 degrees off."""
    vectors = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    offset = line(0, 60, 601)
    left = torch.zeros_like(offset)
    box = torch.stack([left, left, left + 100, left + 100], dim=-1)
    anchors = box.clone()
    anchors[:, ::2] += offset.unsqueeze(1)
    boxes = torch.cat([box, left.unsqueeze(1)], dim=1)
    embeddings = direction(torch.full_like(offset, math.pi / 3))
    for label, soft in (('hard', False), ('soft', True)):
        loss = panel.build('CCSLoss', soft=soft)
        value = loss.forward_anchors(
            anchors.unsqueeze(1), embeddings.unsqueeze(1), vectors,
            boxes.unsqueeze(1))
        panel.axes.plot(offset.numpy(), value.numpy(), label=label)
    panel.dress(
        'one anchor, 60° off',
        'offset from its box, % of the side',
        legend='upper right',
        ylim=(-0.01, 0.32))


# --- balanced BCE ---

POSITIVES, NEGATIVES = 50, 4950


def scores() -> Tuple[Tensor, Tensor]:
    """Drawn logits of few positives and many negatives, and their labels."""
    normal = torch.distributions.Normal(0.0, 1.0)
    positive, negative = [
        (torch.arange(number, dtype=torch.float64) + 0.5) / number
        for number in (POSITIVES, NEGATIVES)
    ]
    logits = torch.cat(
        [1 + 1.5 * normal.icdf(positive), 1.5 * normal.icdf(negative) - 3])
    labels = torch.zeros_like(logits)
    labels[:POSITIVES] = 1
    return logits, labels


def ratios(panel: Panel, reduction: str) -> Dict[str, nn.Module]:
    """Plain cross entropy, and with mined negatives."""
    plain = panel.build(
        'CrossEntropyLoss', use_sigmoid=True, reduction=reduction)
    losses = {'BCE': plain}
    for ratio in (10, 3, 1):
        losses[f'ratio {ratio}'] = panel.build(
            'BalancedBCELoss', negative_ratio=ratio, reduction=reduction)
    return losses


def mined(panel: Panel) -> None:
    """What is left of the loss of each negative."""
    logits, labels = scores()
    negative = logits[POSITIVES:]
    for index, (label, loss) in enumerate(ratios(panel, 'none').items()):
        value = loss(logits, labels)[POSITIVES:]
        kept = value > 0
        at, value = negative[kept].numpy(), value[kept].numpy()
        color = panel.colors[index]
        if index == 0:
            panel.axes.plot(at, value, color=color, label=label, zorder=3)
        else:
            panel.axes.fill_between(at, value, color=color, label=label)
    panel.dress(
        'loss of the kept negatives',
        'logit' if panel.brief else 'logit of a negative; 1 % are positive',
        legend='upper left',
        xlim=(-4, 2.5),
        ylim=(-0.05, 2.7))


def positive_share(panel: Panel) -> None:
    """How much of the gradient the positives have."""
    logits, labels = scores()
    logits.requires_grad_()
    plain = panel.build('CrossEntropyLoss', use_sigmoid=True)

    def share(loss: nn.Module) -> float:
        slope, = torch.autograd.grad(loss(logits, labels).sum(), logits)
        slope = slope.abs()
        return 100 * (slope[:POSITIVES].sum() / slope.sum()).item()

    numbers = torch.logspace(-1, 2, 61, dtype=torch.float64).tolist()
    shares = [
        share(panel.build('BalancedBCELoss', negative_ratio=number))
        for number in numbers
    ]
    panel.axes.axhline(share(plain), color=panel.colors[0], label='BCE')
    panel.axes.plot(numbers, shares, color=panel.colors[2], label='balanced')
    panel.dress(
        'gradient of the positives, %',
        'negative_ratio',
        legend='upper right',
        ylim=(0, 105),
        xscale='log',
        xticks=[0.1, 1, 10, 100],
        xticklabels=['0.1', '1', '10', '100'])


def shifted(panel: Panel) -> None:
    """The bias that each wants: plain BCE says background everywhere."""
    logits, labels = scores()
    at = line(-5, 4, 91)
    for index, (label, loss) in enumerate(ratios(panel, 'mean').items()):

        def call(bias: Tensor, loss: nn.Module = loss) -> Tensor:
            return torch.stack([loss(logits + each, labels) for each in bias])

        panel.plot(at, {label: call})
        mark_minimum(panel, call, at, panel.colors[index])
    panel.dress(
        'loss', 'added to every logit', legend='upper left', ylim=(-0.15, 4.4))


# --- dice ---


def disc(radius: float, shift: float = 0.0, size: int = 96) -> Tensor:
    """How far each pixel (size, size) is inside of a disc, in pixels."""
    place = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return radius - torch.hypot(place[None, :] - shift, place[:, None])


def dice_losses(panel: Panel) -> Dict[str, nn.Module]:
    """Both forms, of probabilities."""
    return {
        'Dice': panel.build('DiceLoss', activate=False),
        'naive Dice': panel.build('DiceLoss', activate=False, naive_dice=True),
    }


def dice_thresholds(panel: Panel) -> None:
    """A map of scores, made a mask by a soft threshold."""
    mask = (disc(16) > 0).double()
    score = torch.sigmoid(disc(14, 4) / 6)

    def masks(threshold: Tensor) -> Tensor:
        return torch.sigmoid(20 * (score - threshold[:, None, None]))

    def dice(loss: nn.Module, threshold: Tensor) -> Tensor:
        return loss(masks(threshold), mask.expand(len(threshold), -1, -1))

    def balanced(threshold: Tensor) -> Tensor:
        return torch.stack([bce(each, mask) for each in masks(threshold)])

    calls: Dict[str, Call] = {
        label: partial(dice, loss)
        for label, loss in dice_losses(panel).items()
    }
    bce = panel.build('BalancedBCELoss', use_sigmoid=False, reduction='mean')
    calls['balanced BCE'] = balanced
    at = line(0, 1, 101)
    panel.plot(at, calls)
    panel.dress(
        'loss',
        'threshold' if panel.brief else 'threshold of a map of scores',
        legend='upper center',
        ylim=(0, 2.8))


def dice_overlap(panel: Panel) -> None:
    """A mask that moves off the object, over a faint background."""
    losses = dice_losses(panel)
    for index, (label, loss) in enumerate(losses.items()):
        for radius, dashes in ((4, DASHED), (16, '-')):
            mask = (disc(radius) > 0).double()
            pred = torch.stack([
                torch.where(disc(radius, float(shift)) > 0, 0.95, 0.05)
                for shift in range(2 * radius + 1)
            ]).double()
            overlap = (pred * mask > 0.5).sum(dim=(1, 2)) / mask.sum()
            value = loss(pred, mask.expand_as(pred))
            panel.axes.plot(
                100 * overlap.numpy(),
                value.numpy(),
                color=panel.colors[index],
                linestyle=dashes,
                label=f'{label}, r = {radius}')
    panel.dress(
        'discs, p = 0.95 and 0.05',
        'overlap, %',
        legend='lower left',
        ylim=(0, 1.02))


def dice_probability(panel: Panel) -> None:
    """What each wants to say where the mask itself is in doubt."""
    at = line(0, 1)
    for index, (label, loss) in enumerate(dice_losses(panel).items()):
        for target, dashes in ((1.0, '-'), (0.5, DASHED)):

            def call(p: Tensor,
                     loss: nn.Module = loss,
                     target: float = target) -> Tensor:
                pred = p.unsqueeze(1).expand(-1, 64)
                return loss(pred, torch.full_like(pred, target))

            panel.axes.plot(
                at.numpy(),
                call(at).numpy(),
                color=panel.colors[index],
                linestyle=dashes,
                label=f'{label}, mask {target}')
            mark_minimum(panel, call, at, panel.colors[index])
    panel.dress(
        'loss of a patch',
        'probability of its pixels',
        legend='upper right',
        ylim=(-0.03, 1.3))


# --- gaussian focal ---

TARGETS = {'peak, 1': 1.0, 'near, 0.8': 0.8, 'near, 0.5': 0.5, 'far, 0': 0.0}


def gaussian_focal(panel: Panel) -> None:
    """The loss of a pixel, by how near it is to a peak."""
    loss = panel.build('GaussianFocalLoss')
    calls = {label: partial(against, loss, t) for label, t in TARGETS.items()}
    panel.plot(line(0.005, 0.995), calls)
    panel.dress(
        'loss of a pixel',
        'probability',
        legend='upper center',
        ylim=(-0.15, 4.5))


def gaussian_sweeps(panel: Panel) -> None:
    """What the exponents and the weights change."""
    at = line(0.005, 0.995)
    near = {
        f'γ = {gamma:g}':
        partial(against, panel.build('GaussianFocalLoss', gamma=gamma), 0.8)
        for gamma in (1.0, 2.0, 4.0)
    }
    near['γ = 2, neg_weight 2'] = partial(
        against, panel.build('GaussianFocalLoss', gamma=2.0, neg_weight=2.0),
        0.8)
    panel.plot(at, near)
    panel.dress(
        'near a peak, target 0.8',
        'probability',
        legend='upper left',
        ylim=(-0.02, 1))


def gaussian_peaks(panel: Panel) -> None:
    """The exponent of the prediction, and the weight, at a peak."""
    calls = {
        f'α = {alpha:g}':
        partial(against, panel.build('GaussianFocalLoss', alpha=alpha), 1.0)
        for alpha in (1.0, 2.0, 4.0)
    }
    calls['α = 2, pos_weight 2'] = partial(
        against, panel.build('GaussianFocalLoss', pos_weight=2.0), 1.0)
    panel.plot(line(0.005, 0.995), calls)
    panel.dress(
        'at a peak', 'probability', legend='upper right', ylim=(-0.15, 5))


def gaussian_ends(panel: Panel) -> None:
    """In float32, the sigmoid rounds before the loss sees it."""
    logits = panel.build('GaussianFocalLoss', use_sigmoid=True)
    probabilities = panel.build('GaussianFocalLoss')

    def rounded(target: float, logit: Tensor) -> Tensor:
        return against(probabilities, target, logit.sigmoid())

    at = line(-30, 30, 241).float()
    for index, (name, target) in enumerate((('peak', 1.0), ('far', 0.0))):
        calls: Dict[str, Call] = {
            f'{name}, logits': partial(against, logits, target),
            f'{name}, probabilities': partial(rounded, target)
        }
        for label, call in calls.items():
            panel.axes.plot(
                at.numpy(),
                curve(call, at)[1].numpy(),
                color=panel.colors[3 * index],
                linewidth=3 if 'logits' not in label else 1.5,
                alpha=0.45 if 'logits' not in label else 1,
                label=label)
    panel.dress('gradient of a logit, float32', 'logit', legend='lower right')


# --- corners ---


def tags(panel: Panel, slope: bool) -> None:
    """The corners of an object together, objects apart."""
    at = line(-2.5, 2.5)

    def pull(distance: Tensor) -> Tensor:
        tag = distance[:, None, None]
        mask = torch.ones(len(tag), 1, dtype=torch.bool)
        return loss(torch.zeros_like(tag), tag, mask)[0]

    def push(distance: Tensor, loss: nn.Module) -> Tensor:
        tag = torch.stack([torch.zeros_like(distance), distance], dim=1)
        mask = torch.ones(len(tag), 2, dtype=torch.bool)
        return loss(tag.unsqueeze(2), tag.unsqueeze(2), mask)[1]

    name, one = 'AssociativeEmbeddingLoss', dict(pull_weight=1, push_weight=1)
    loss = panel.build(name, **one)
    calls: Dict[str, Call] = {'pull': pull}
    for margin in (2.0, 1.0):
        calls[f'push, margin {margin:g}'] = partial(
            push, loss=panel.build(name, margin=margin, **one))
    panel.plot(at, calls, slope, dashed=['push, margin 1'])
    panel.dress(
        'gradient' if slope else 'pull and push',
        'distance of two tags',
        legend=None if slope else 'upper center',
        ylim=None if slope else (-0.1, 4.6 if panel.brief else 3.6))


def corner_net(panel: Panel) -> None:
    """The four terms from nothing learned to all of it, by share."""
    loss = panel.build('CornerNetLoss', reduction='mean')
    spots = torch.tensor([[5, 5], [11, 9]])
    place = torch.arange(16, dtype=torch.float64)
    square = ((place[None, :, None] - spots[:, None, None, 0])**2 +
              (place[None, None, :] - spots[:, None, None, 1])**2)
    heatmap = torch.exp(-square / 2).amax(dim=0)[None, None]
    ideal = heatmap.clamp(1e-3, 1 - 1e-3).logit()
    tag0 = torch.tensor([[[0.0], [0.2]]], dtype=torch.float64)
    tag1 = torch.tensor([[[1.0], [-0.8]]], dtype=torch.float64)
    goal = torch.tensor([[[1.5], [-0.5]]], dtype=torch.float64)
    offset = torch.full((1, 2, 2), 0.7, dtype=torch.float64)
    mask = torch.ones(1, 2, dtype=torch.bool)
    targets = [heatmap, heatmap, mask, offset, offset]
    at = line(0, 1, 101)
    values: Dict[str, List[float]] = {}
    for share in at.tolist():
        tag_pair = [(1 - share) * tag + share * goal for tag in (tag0, tag1)]
        outs = [
            share * ideal, share * ideal, *tag_pair, share * offset,
            share * offset
        ]
        for name, term in loss(outs, targets).items():
            values.setdefault(name, []).append(term.item())
    for name, terms in values.items():
        panel.axes.plot(
            100 * at.numpy(), [100 * term / terms[0] for term in terms],
            linestyle=DASHED if name == 'regr_loss' else '-',
            label=name)
    panel.dress(
        'CornerNet, % of the first loss',
        'way from 0 to the targets, %',
        legend='upper right',
        ylim=(-4, 104))


# --- KL ---

BINS = 128


def kl_logits(centre: Tensor, sigma: float) -> Tensor:
    """Scores (N, 1, bins) whose softmax is a Gaussian."""
    place = torch.arange(BINS, dtype=torch.float64) - BINS // 2
    return -(place - centre[:, None, None])**2 / (2 * sigma**2)


def bumps(centre: Tensor, sigma: float, density: bool) -> Tensor:
    """Gaussians (N, 1, bins) as a density over the bins, or of peak 1."""
    bump = kl_logits(centre, sigma).exp()
    return bump / (sigma * math.sqrt(2 * math.pi)) if density else bump


def one_axis(loss: nn.Module, pred: Tensor, target: Tensor) -> Tensor:
    """The loss of one keypoint with one axis."""
    return loss((pred, ), (target.expand_as(pred), ))[:, 0]


def kl_widths(panel: Panel, slope: bool) -> None:
    """A Gaussian that is off by some bins, of several widths."""
    loss = panel.build(
        'KLDiscretLoss', bin_reduction='sum', use_target_weight=None)
    target = bumps(torch.zeros(1, dtype=torch.float64), 4.0, density=True)

    def shifted_by(sigma: float, offset: Tensor) -> Tensor:
        return one_axis(loss, kl_logits(offset, sigma), target)

    calls = {
        f'σ = {sigma:g}': partial(shifted_by, sigma)
        for sigma in (2.0, 4.0, 8.0, 16.0)
    }
    panel.plot(line(-14, 14, 225), calls, slope)
    panel.dress(
        'gradient, per bin' if slope else 'divergence from σ = 4',
        'offset in bins',
        legend=None if slope else 'upper center',
        ylim=None if slope else (-0.6, 27),
        xticks=range(-10, 11, 10 if panel.brief else 5))


def kl_labels(panel: Panel) -> None:
    """What the softmax of the labels makes of the same error."""
    zero = torch.zeros(1, dtype=torch.float64)
    options = dict(bin_reduction='sum', use_target_weight=None)
    softmax = dict(label_softmax=True, **options)
    losses = {
        'density': (panel.build('KLDiscretLoss', **options), True),
        'softmax of density': (panel.build('KLDiscretLoss', **softmax), True),
        'softmax of peak 1': (panel.build('KLDiscretLoss', **softmax), False),
        'the same, β = 10':
        (panel.build('KLDiscretLoss', beta=10.0, **softmax), False),
    }

    def peaked(loss: nn.Module, density: bool, offset: Tensor) -> Tensor:
        return one_axis(loss, 4 * bumps(offset, 4.0, False),
                        bumps(zero, 4.0, density))

    calls = {label: partial(peaked, *pair) for label, pair in losses.items()}
    panel.plot(line(-24, 24, 193), calls)
    panel.dress(
        'divergence by kind of label',
        'offset in bins',
        legend='upper center',
        yscale='log',
        ylim=(0.25, 900),
        xticks=range(-20, 21, 10))


# --- boxes ---

TARGET = (40.0, 24.0)  # width and height in pixels
MOVED = (28.0, 36.0)  # those of the prediction that moves

GROUPS: Dict[str, Dict[str, Dict[str, Any]]] = {
    'overlap and distance': {
        'IoU, log': dict(name='IoULoss'),
        'IoU, square': dict(name='IoULoss', mode='square'),
        'DIoU': dict(name='DIoULoss'),
        'IoU, linear': dict(name='IoULoss', mode='linear'),
        'GIoU': dict(name='GIoULoss'),
        'MPDIoU': dict(name='MPDIoULoss'),
    },
    'also the shape': {
        'DIoU': dict(name='DIoULoss'),
        'EIoU': dict(name='EIoULoss'),
        'SIoU': dict(name='SIoULoss'),
        'CIoU': dict(name='CIoULoss'),
        'Shape-IoU 1': dict(name='ShapeIoULoss', scale=1.0),
        'Focal-EIoU 0.5': dict(name='EIoULoss', focal_gamma=0.5),
    },
    'weighed, powered, scaled': {
        'WIoU 1': dict(name='WIoULoss', version=1),
        'WIoU 3': dict(name='WIoULoss', version=3),
        'Inner-IoU 0.7': dict(name='InnerIoULoss'),
        'WIoU 2': dict(name='WIoULoss', version=2),
        'alpha-IoU 3': dict(name='AlphaIoULoss'),
        'NWD 12.8': dict(name='NWDLoss'),
    },
}
ON_CARD = ('IoU, linear', 'DIoU', 'GIoU', 'MPDIoU')
WIDE = ('DIoU', 'WIoU 1')


def box(x: Tensor, y: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Boxes (N, 4) by their centres and sides."""
    x, y = x + 100, y + 100
    return torch.stack(
        [x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)


def moved_box(offset: Tensor) -> Tensor:
    """A prediction of another shape, off by sides of the target."""
    width, height = [torch.full_like(offset, side) for side in MOVED]
    return box(TARGET[0] * offset, TARGET[1] * offset, width, height)


def scaled_box(exponent: Tensor) -> Tensor:
    """The target, its sides times a power of two."""
    zero, scale = 0 * exponent, 2**exponent
    return box(zero, zero, TARGET[0] * scale, TARGET[1] * scale)


def flattened_box(exponent: Tensor) -> Tensor:
    """The target with its aspect ratio times a power of two."""
    zero, root = 0 * exponent, 2**(exponent / 2)
    return box(zero, zero, TARGET[0] * root, TARGET[1] / root)


class Path(NamedTuple):
    """How a prediction leaves its target."""
    make: Callable[[Tensor], Tensor]
    at: Tensor
    name: str
    unit: str
    limits: Tuple[float, float]


MOVE = Path(moved_box, line(0, 2), 'moved',
            'offset along the diagonal of the target', (-0.1, 2.6))
SCALE_UP = Path(scaled_box, line(-2, 2), 'scaled',
                'sides by those of the target', (-0.1, 2.9))
FLATTEN = Path(flattened_box, line(-2, 2), 'aspect ratio',
               'aspect ratio by that of the target', (-0.05, 1.25))


def boxes(panel: Panel, group: str, path: Path, slope: bool = False) -> None:
    """The losses of a group along a path of the prediction."""
    names = GROUPS[group]
    if panel.brief:
        names = {label: names[label] for label in ON_CARD}
    corners = [torch.full((1, ), x).double() for x in (0.0, 0.0, *TARGET)]
    target = box(*corners)

    def away(loss: nn.Module, at: Tensor) -> Tensor:
        return loss(path.make(at), target.expand(len(at), 4))

    calls = {
        label: partial(away, panel.build(**names[label]))
        for label in names
    }
    labels = list(names)
    panel.plot(
        path.at, calls, slope, dashed=labels[len(labels) // 2:], wide=WIDE)
    first = path is MOVE and not slope
    panel.dress(
        group if first and not panel.brief else '',
        path.unit,
        ylim=(-0.1, 3.2) if slope else path.limits)
    if panel.brief:
        panel.dress('loss', path.unit, legend='upper left', ylim=(-0.1, 3.2))
    elif group == next(iter(GROUPS)):
        kind = 'gradient' if slope else 'loss'
        panel.axes.set_ylabel(f'{kind}, {path.name}')
    if path is not MOVE:
        panel.axes.set_xticks(range(-2, 3), ['1/4', '1/2', '1', '2', '4'])


# --- sum ---


def sum_terms(panel: Panel) -> None:
    """A squared error for the far, an absolute one for the near."""
    parts = [
        dict(type='mmlosses.MSELoss', loss_weight=0.5),
        dict(type='mmlosses.L1Loss', loss_weight=0.5),
    ]
    calls = {
        'L2 / 2': partial(against, panel.build('MSELoss', loss_weight=0.5), 0),
        'L1 / 2': partial(against, panel.build('L1Loss', loss_weight=0.5), 0),
        'sum': partial(against, panel.build('SumLoss', losses=parts), 0),
    }
    panel.plot(line(-2, 2), calls)
    panel.dress('loss', 'error', legend='upper center', ylim=(-0.1, 4.1))


def learned_sum(panel: Panel, error: float, log_vars: Tensor) -> Tensor:
    """A slot with one loss, L1 of an error, by its log variance."""
    loss = panel.build(
        'SumLoss',
        losses=[dict(type='mmlosses.L1Loss')],
        weighting='uncertainty')
    pred, target = torch.full((1, ), error).double(), torch.zeros(1).double()
    return torch.cat([
        torch.func.functional_call(loss, {'log_vars': log_var}, (pred, target))
        for log_var in log_vars.reshape(-1, 1)
    ])


def sum_log_vars(panel: Panel) -> None:
    """The log variance that each loss asks for."""
    at = line(-5, 5, 101)
    for error in (0.1, 1.0, 10.0):
        value = learned_sum(panel, error, at).detach()
        drawn, = panel.axes.plot(
            at.numpy(), value.numpy(), label=f'L = {error:g}')
        least = value.argmin()
        panel.axes.plot(at[least], value[least], 'o', color=drawn.get_color())
    panel.dress('term', 'log variance s', legend='upper right', ylim=(-2, 8))


def sum_by_size(panel: Panel) -> None:
    """What a loss adds, by how large it is."""
    at = line(0.05, 5, 100)
    learned = [
        learned_sum(panel, float(x), torch.log(2 * x)).detach() for x in at
    ]
    calls = {'plain': partial(against, panel.build('L1Loss'), 0)}
    panel.plot(at, calls)
    panel.axes.plot(at.numpy(), torch.cat(learned).numpy(), label='learned')
    panel.dress('term at the best s', 'L', legend='upper left')


class Family(NamedTuple):
    """The picture of a folder below configs/.

    Args:
        rows (Sequence): Rows of panels; the first panel is also the card.
        page (Size): How large they are drawn.
    """
    rows: Sequence[Sequence[Callable[[Panel], None]]]
    page: Size = PAGE


FAMILIES: Dict[str, Family] = {
    'regression':
    Family([[
        partial(regression, slope=False),
        partial(regression, slope=True), smooth_l1_betas
    ]]),
    'angular':
    Family([[
        partial(angular, slope=False),
        partial(angular, slope=True), angular_deltas
    ]]),
    'propel':
    Family([[
        propel_surface,
        partial(propel_means, slope=False),
        partial(propel_means, slope=True), propel_sigmas
    ]]),
    'cross_entropy':
    Family([[
        partial(cross_entropy, slope=False),
        partial(cross_entropy, slope=True), binary_entropy
    ]]),
    'focal':
    Family([[
        partial(focal_gammas, slope=False),
        partial(focal_gammas, slope=True), focal_kinds
    ]]),
    'margin':
    Family([[margin_logits, partial(margin_values, slope=False)],
            [partial(margin_values, slope=True), margin_heads]]),
    'center':
    Family([[center_paths, center_rates, center_softmax]]),
    'ccs':
    Family([[partial(ccs, slope=False),
             partial(ccs, slope=True), ccs_anchors]]),
    'balanced_bce':
    Family([[mined, positive_share, shifted]]),
    'dice':
    Family([[dice_thresholds, dice_overlap, dice_probability]]),
    'gaussian_focal':
    Family([[gaussian_focal, gaussian_peaks], [gaussian_sweeps,
                                               gaussian_ends]]),
    'corners':
    Family(
        [[partial(tags, slope=False),
          partial(tags, slope=True), corner_net]]),
    'kl_discret':
    Family([[
        partial(kl_widths, slope=False),
        partial(kl_widths, slope=True), kl_labels
    ]]),
    'sum':
    Family([[sum_terms, sum_log_vars, sum_by_size]]),
    'boxes':
    Family([[
        partial(boxes, group=group, path=path, slope=slope) for group in GROUPS
    ] for path, slope in ((MOVE, False), (MOVE, True), (SCALE_UP, False),
                          (FLATTEN, False))],
           page=TALL),
}
