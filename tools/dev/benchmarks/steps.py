"""What the losses take of a whole training step, stock and ours."""
from __future__ import annotations
import statistics
import time
from typing import Any, Callable, Dict, List, Tuple

import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from real_pictures import small_backbone
from torch import Tensor, nn

from mmlosses.checks.batches import fake_batch
from mmlosses.checks.step import Check
from mmlosses.checks.swaps import find_swaps, swapped
from mmlosses.checks.watch import loss_modules
from mmlosses.commands.check_config import quiet
from .measure import ratio

# The image side for a detector, as its config resizes to about.
MODELS = {
    'RetinaNet': ('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', 800),
    'RTMDet': ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', 640),
    'RTMPose': ('mmpose::body_2d_keypoint/rtmpose/coco/'
                'rtmpose-t_8xb256-420e_coco-256x192.py', 256),
    'Mask2Former':
    ('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', 512),
}

HEAD = [
    'model', 'step, stock, processor s', 'losses, stock', 'losses, ours',
    'losses, ours by stock', 'step, ours by stock (quartiles)'
]


def detached(value: Any, leaves: List[Tensor]) -> Any:
    """A copy of the arguments of a call, with leaves for what has a gradient.

    The leaves are added to the list.
    """
    if isinstance(value, Tensor) and value.requires_grad:
        leaves.append(value.detach().requires_grad_())
        return leaves[-1]
    if isinstance(value, (tuple, list)):
        return type(value)([detached(x, leaves) for x in value])
    if isinstance(value, dict):
        return {key: detached(x, leaves) for key, x in value.items()}
    return value


class Step:
    """A model with a batch.

    Args:
        cfg (Config): The whole config.
        size (int): Image side for a detector.
    """

    def __init__(self, cfg: Config, size: int) -> None:
        self.model: Any = Check(cfg).build()
        torch.manual_seed(0)
        preprocess: Any = self.model.data_preprocessor
        self.data = preprocess(fake_batch(cfg, size), True)
        self.calls: List[Tuple[nn.Module, Tuple, Dict, List[Tensor]]] = []

    def run(self) -> None:
        """Forward and backward of the whole model."""
        self.model.zero_grad()
        torch.manual_seed(0)
        losses = self.model._run_forward(self.data, mode='loss')
        self.model.parse_losses(losses)[0].backward()

    def record(self) -> None:
        """Keep the calls of the losses in one step."""

        def note(module: nn.Module, args: Tuple, kwargs: Dict) -> None:
            leaves: List[Tensor] = []
            self.calls.append(
                (module, detached(args, leaves), detached(kwargs,
                                                          leaves), leaves))

        hooks = [
            loss.register_forward_pre_hook(note, with_kwargs=True)
            for _, loss in loss_modules(self.model)
        ]
        self.run()
        for hook in hooks:
            hook.remove()

    def losses(self) -> None:
        """Forward and backward of the losses alone."""
        for module, args, kwargs, leaves in self.calls:
            loss = module(*args, **kwargs)
            if leaves:
                torch.autograd.grad(loss.sum(), leaves, allow_unused=True)


def seconds(call: Callable[[], None]) -> float:
    """The processor time of a call, which other programs disturb less."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def run(rounds: int, small: bool) -> str:
    """Measure all models, both kinds in turn; return the table."""
    lines = ['| ' + ' | '.join(HEAD) + ' |', '| --- ' * len(HEAD) + '|']
    for name, (path, size) in MODELS.items():
        cfg = get_config(path)
        init_default_scope(cfg.default_scope)
        small_backbone(cfg.model)
        if 'panoptic_head' in cfg.model:
            cfg.model.panoptic_head.in_channels = [64, 128, 256, 512]
        with quiet():
            steps = [
                Step(each, 128 if small else size)
                for each in (cfg, swapped(cfg, find_swaps(cfg)))
            ]
        for step in steps:
            step.record()
            step.losses()
        times = [[(seconds(step.run), seconds(step.losses)) for step in steps]
                 for _ in range(rounds)]
        whole = statistics.median([stock[0] for stock, _ in times])
        shares = [
            statistics.median([both[kind][1] / both[0][0] for both in times])
            for kind in (0, 1)
        ]
        alone = statistics.median(
            [ours[1] / stock[1] for stock, ours in times])
        low, middle, high = ratio([ours[0] for _, ours in times],
                                  [stock[0] for stock, _ in times])
        lines.append(f'| {name} | {whole:.2f} | {shares[0]:.1%} | '
                     f'{shares[1]:.1%} | {alone:.2f} | {middle:.2f} '
                     f'({low:.2f}-{high:.2f}) |')
        print(lines[-1], flush=True)
    return '\n'.join(lines)
