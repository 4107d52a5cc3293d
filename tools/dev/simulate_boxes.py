"""Regress anchors to targets with every box loss, and draw the error.

    python tools/dev/simulate_boxes.py [--points N] [--out FOLDER]

The simulation of the DIoU paper (arXiv:1911.08287, section 3.1): targets of
area 1 with seven aspect ratios around one point, anchors with seven scales and
seven aspect ratios at points up to 3 away, and gradient descent on the centre
and size of each anchor. If mmdet is installed, its losses are drawn too. It
writes a picture and a table.
"""
from __future__ import annotations
import argparse
import math
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import torch
from mmengine.registry import MODELS
from pages import CONFIGS, write_block
from torch import Tensor, nn

from mmlosses.losses import IoULoss

FOLDER = CONFIGS / 'boxes'

CENTRE = 10.0
RADIUS = 3.0
SCALES = (0.5, 0.67, 0.75, 1.0, 1.33, 1.5, 2.0)
ASPECTS = (1 / 4, 1 / 3, 1 / 2, 1.0, 2.0, 3.0, 4.0)
ITERATIONS = 200
FOUND = 0.9  # the IoU at which an anchor matches its target

# The losses of each panel. Boxes have sides of about 1, hence the constant.
PANELS: Dict[str, Dict[str, Dict[str, Any]]] = {
    'overlap, centre and size': {
        'IoU': dict(type='IoULoss', mode='linear'),
        'GIoU': dict(type='GIoULoss'),
        'DIoU': dict(type='DIoULoss'),
        'CIoU': dict(type='CIoULoss'),
        'EIoU': dict(type='EIoULoss'),
        'SIoU': dict(type='SIoULoss'),
        'Shape-IoU': dict(type='ShapeIoULoss', scale=1.0),
        'MPDIoU': dict(type='MPDIoULoss'),
        'NWD, constant 1': dict(type='NWDLoss', constant=1.0),
    },
    'reweighted variants': {
        'CIoU': dict(type='CIoULoss'),
        'Focal-EIoU': dict(type='EIoULoss', focal_gamma=0.5),
        'WIoU v1': dict(type='WIoULoss', version=1),
        'WIoU v2': dict(type='WIoULoss', version=2, momentum=0.01),
        'WIoU v3': dict(type='WIoULoss', version=3, momentum=0.01),
        'alpha-CIoU': dict(type='AlphaIoULoss', mode='ciou'),
        'Inner-CIoU 0.7': dict(type='InnerIoULoss', mode='ciou', ratio=0.7),
        'Inner-CIoU 1.3': dict(type='InnerIoULoss', mode='ciou', ratio=1.3),
    },
}
STOCK = {
    f'mmdet {name}{" (Extended)" if name == "EIoU" else ""}':
    PANELS['overlap, centre and size'][name]
    for name in ('IoU', 'GIoU', 'DIoU', 'CIoU', 'EIoU', 'SIoU')
}


class Result(NamedTuple):
    """The result of one loss."""
    errors: List[float]  # mean L1 error of centre and size, by iteration
    near: float  # share of overlapping anchors that match
    far: float  # the same for disjoint anchors
    broken: int  # anchors that are NaN


def sides_of(area: Tensor, aspect: Tensor) -> Tensor:
    """Sizes (n, 2) of boxes with an area and an aspect ratio."""
    return torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], -1)


def cases(points: int) -> Tuple[Tensor, Tensor]:
    """Every anchor with every target, as (x, y, width, height)."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(points, generator=generator)
    radius = RADIUS * torch.rand(points, generator=generator).sqrt()
    places = CENTRE + radius.unsqueeze(1) * torch.stack(
        [angle.cos(), angle.sin()], dim=-1)
    aspects = torch.tensor(ASPECTS)
    shapes = sides_of(*torch.cartesian_prod(torch.tensor(SCALES), aspects).T)
    targets = sides_of(torch.ones_like(aspects), aspects)
    targets = torch.cat([torch.full_like(targets, CENTRE), targets], dim=-1)
    place, shape, target = torch.cartesian_prod(
        torch.arange(points), torch.arange(len(shapes)),
        torch.arange(len(targets))).T
    return torch.cat([places[place], shapes[shape]], -1), targets[target]


def corners(boxes: Tensor) -> Tensor:
    """(x, y, width, height) as (x1, y1, x2, y2)."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def iou(anchors: Tensor, targets: Tensor) -> Tensor:
    """IoU of boxes (x, y, width, height)."""
    loss = IoULoss(mode='linear', reduction='none')
    return 1 - loss(corners(anchors), corners(targets))


def are_apart(anchors: Tensor, targets: Tensor) -> Tensor:
    """Mark the anchors that do not overlap their targets."""
    distance = (anchors[:, :2] - targets[:, :2]).abs()
    return (2 * distance >= anchors[:, 2:] + targets[:, 2:]).any(dim=1)


def simulate(loss: nn.Module, anchors: Tensor, targets: Tensor) -> Result:
    """Descend with the rates of the paper, higher for a lower IoU."""
    apart = are_apart(anchors, targets)
    goal = corners(targets)
    errors = []
    for iteration in range(ITERATIONS):
        anchors = anchors.detach().requires_grad_()
        value = loss(corners(anchors), goal, reduction_override='sum')
        gradient, = torch.autograd.grad(value, anchors)
        with torch.no_grad():
            error = (anchors - targets).abs().sum(dim=1)
            errors.append(error.nanmean().item())
            rate = 0.1
            if iteration >= 0.8 * ITERATIONS:
                rate = 0.01 if iteration < 0.9 * ITERATIONS else 0.001
            step = rate * (2 - iou(anchors, targets)).unsqueeze(1)
            anchors = anchors - step * gradient
            # A negative side would change the box.
            anchors[:, 2:].clamp_(min=1e-3)
    found = (iou(anchors, targets) > FOUND).float()
    return Result(errors, found[~apart].mean().item(),
                  found[apart].mean().item(),
                  int(anchors.isnan().any(dim=1).sum()))


def has_mmdet() -> bool:
    """True if mmdet imports."""
    try:
        import mmdet.models.losses  # noqa: F401
    except (ImportError, AssertionError):
        return False
    return True


def draw(panels: Dict[str, Dict[str, Result]], path: Path) -> None:
    """Draw error against iterations."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(5 * len(panels), 4.5), layout='constrained')
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for plot, (title, results) in zip(axes, panels.items()):
        for index, (name, result) in enumerate(results.items()):
            style = '--' if name.startswith('mmdet') else '-'
            plot.plot(result.errors, style, color=f'C{index % 10}', label=name)
        plot.set(title=title, xlabel='iteration')
        plot.grid(alpha=0.3)
        plot.legend(fontsize='small')
    axes[0].set_ylabel('mean error of x, y, width and height')
    figure.savefig(path, dpi=110)


def table(panels: Dict[str, Dict[str, Result]]) -> str:
    """The results of all losses, in Markdown."""
    middle = ITERATIONS // 4
    rows = [
        f'| loss | error after {middle} | error after {ITERATIONS} | '
        'matched, overlapping | matched, disjoint | NaN |',
        '| --- | --- | --- | --- | --- | --- |'
    ]
    results = {k: x for panel in panels.values() for k, x in panel.items()}
    for name, result in results.items():
        rows.append(f'| {name} | {result.errors[middle - 1]:.3f} '
                    f'| {result.errors[-1]:.3f} | {result.near:.1%} '
                    f'| {result.far:.1%} | {result.broken} |')
    return '\n'.join(rows)


def main() -> None:
    """Simulate every loss and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--points',
        type=int,
        default=500,
        help='number of anchor points; the paper has 5000 (default: 500)')
    parser.add_argument(
        '--out',
        type=Path,
        default=FOLDER,
        help='folder of README.md and regression.png '
        '(default: configs/boxes)')
    args = parser.parse_args()
    if args.points < 1:
        parser.error(f'--points must be at least 1, got {args.points}')
    anchors, targets = cases(args.points)
    apart = are_apart(anchors, targets).float().mean()
    summary = f'{len(anchors)} anchors, {apart:.0%} of them disjoint'
    print(summary)
    panels = [(title, 'mmlosses', losses) for title, losses in PANELS.items()]
    if has_mmdet():
        panels.append(('stock', 'mmdet', STOCK))
    results: Dict[str, Dict[str, Result]] = {}
    for title, scope, losses in panels:
        results[title] = {}
        for name, cfg in losses.items():
            loss = MODELS.build({**cfg, 'type': f'{scope}.{cfg["type"]}'})
            result = simulate(loss, anchors, targets)
            print(f'{name}: error {result.errors[-1]:.3f}', flush=True)
            results[title][name] = result
    args.out.mkdir(parents=True, exist_ok=True)
    draw(results, args.out / 'regression.png')
    write_block(args.out / 'README.md', 'simulation',
                f'{summary}.\n\n{table(results)}')


if __name__ == '__main__':
    main()
