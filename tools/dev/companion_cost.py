"""What the companions of a loss cost: seconds an iteration, with and without.

    python tools/companion_cost.py COCO [NAME ...] [--rounds N]

COCO is a folder with a few pictures and their annotations in `test_coco.json`.
RetinaNet of mmdet and the keypoint regression of mmpose, each with a small
backbone, are trained on them by mmengine's Runner, with and without each
companion in turn. Printed are the ratios of the time and of the time of the
processor, which other programs disturb less, as medians over the rounds.
"""
from __future__ import annotations
import argparse
import statistics
import tempfile
import time
import uuid
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.hub import get_config
from mmengine.runner import Runner
from real_pictures import (REGRESSION, coco_folder, detection_data, pose_data,
                           retinanet_giou, small_backbone)

from mmlosses.cli import one_line_errors

# Iterations that warm up: of all that a training is timed for, few.
WARM_UP = 3


def training(project: str, coco: Path, work_dir: Path,
             **settings: Any) -> Config:
    """The config of a training on the real pictures.

    RetinaNet with decoded boxes, or the regression of keypoints, each with a
    ResNet-18 and two pictures or people in a batch.

    Args:
        project (str): ``'mmdet'`` or ``'mmpose'``.
        coco (Path): The folder with the pictures.
        work_dir (Path): Where its log and checkpoints go.
        settings: What to change, by dotted names with ``__`` for the dots.
    """
    if project == 'mmdet':
        stock = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
        small_backbone(stock.model)
        retinanet_giou(stock.model)
        data = detection_data(coco, (160, 128))
    else:
        stock = get_config(REGRESSION +
                           'td-reg_res50_8xb64-210e_coco-256x192.py')
        small_backbone(stock.model)
        data = pose_data(coco, stock.codec)
    cfg = Config(
        dict(
            default_scope=project,
            model=stock.model,
            work_dir=str(work_dir),
            # The log of a training is found by this name.
            experiment_name=uuid.uuid4().hex,
            train_dataloader=dict(
                batch_size=2,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=data),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=0.001),
                clip_grad=dict(max_norm=10)),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(type='CheckpointHook', interval=1)),
            custom_hooks=[],
            visualizer=dict(
                type='Visualizer',
                vis_backends=[dict(type='LocalVisBackend')]),
            randomness=dict(seed=0),
            log_level='WARNING'))
    cfg.merge_from_dict({
        name.replace('__', '.'): value
        for name, value in settings.items()
    })
    return cfg


# Of the clock on the wall, and of the processor.
Times = Tuple[float, float]


class Stopwatch(Hook):
    """Note when each iteration ends, after all other hooks."""
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.times: List[Times] = []

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Any = None) -> None:
        """Note the time."""
        self.times.append((time.perf_counter(), time.process_time()))

    def seconds(self) -> Times:
        """The median of an iteration, by both clocks."""
        clock, processor = [
            statistics.median(
                [end - begin for begin, end in zip(times, times[1:])])
            for times in zip(*self.times[WARM_UP:])
        ]
        return clock, processor


Change = Callable[[Config], None]


@dataclass
class Companion:
    """A companion in a training.

    Args:
        project (str): ``'mmdet'`` or ``'mmpose'``.
        add (Callable): Adds it to the config.
        both (Callable): Changes the config of either training.
    """
    project: str
    add: Change
    both: Change = lambda cfg: None


def box_loss(cfg: Config) -> None:
    """Ours in the slot of the boxes."""
    cfg.model.bbox_head.loss_bbox = dict(type='mmlosses.GIoULoss')


def keypoint_loss(cfg: Config) -> None:
    """Ours in the slot of the keypoints."""
    cfg.model.head.loss = dict(
        type='mmlosses.SmoothL1Loss', use_target_weight=True)


def add_losses(*others: Dict[str, Any], **kwargs: Any) -> Change:
    """Put the loss that is there into a sum, with others."""

    def change(cfg: Config) -> None:
        head, slot = ((cfg.model.bbox_head,
                       'loss_bbox') if 'bbox_head' in cfg.model else
                      (cfg.model.head, 'loss'))
        head[slot] = dict(
            type='mmlosses.SumLoss', losses=[head[slot], *others], **kwargs)

    return change


def class_loss(cfg: Config) -> None:
    """Ours in the slot of the classes."""
    cfg.model.bbox_head.loss_cls = dict(
        type='mmlosses.FocalLoss', use_sigmoid=True)


def keypoint_weight(cfg: Config) -> None:
    """A weight for each keypoint of COCO."""
    cfg.model.head.loss.keypoint_weight = [0.5] * 9 + [1.5] * 8


def class_weight(cfg: Config) -> None:
    """A weight for each class of COCO."""
    cfg.model.bbox_head.loss_cls.class_weight = [0.5] * 40 + [1.5] * 40


def schedule(path: str) -> Change:
    """Move the weight in each iteration."""

    def change(cfg: Config) -> None:
        cfg.custom_hooks = [
            dict(
                type='mmlosses.LossWeightHook',
                path=path,
                end_weight=0.5,
                by_epoch=False)
        ]

    return change


L1 = dict(type='mmlosses.L1Loss')
COMPANIONS = {
    'SumLoss of one, mmdet':
    Companion('mmdet', add_losses(), box_loss),
    'SumLoss of two, mmdet':
    Companion('mmdet', add_losses(L1), box_loss),
    'SumLoss of two, learned weights, mmdet':
    Companion('mmdet', add_losses(L1, weighting='uncertainty'), box_loss),
    'SumLoss of one, mmpose':
    Companion('mmpose', add_losses(), keypoint_loss),
    'SumLoss of two, mmpose':
    Companion('mmpose', add_losses(L1), keypoint_loss),
    'SumLoss of two, learned weights, mmpose':
    Companion('mmpose', add_losses(L1, weighting='uncertainty'),
              keypoint_loss),
    'keypoint_weight, mmpose':
    Companion('mmpose', keypoint_weight, keypoint_loss),
    'class_weight, mmdet':
    Companion('mmdet', class_weight, class_loss),
    'LossWeightHook, mmdet':
    Companion('mmdet', schedule('bbox_head.loss_bbox'), box_loss),
    'LossWeightHook, mmpose':
    Companion('mmpose', schedule('head.loss_module'), keypoint_loss),
}


def seconds(companion: Companion, coco: Path, iterations: int,
            with_it: bool) -> Times:
    """Those of an iteration of one training."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = training(companion.project, coco, Path(folder))
        cfg.train_cfg = dict(by_epoch=False, max_iters=iterations)
        # mmengine sleeps where the pictures start over.
        cfg.train_dataloader.sampler.type = 'InfiniteSampler'
        cfg.default_hooks.checkpoint = None
        cfg.default_hooks.logger.interval = 10
        cfg.log_level = 'ERROR'
        companion.both(cfg)
        if with_it:
            companion.add(cfg)
        runner = Runner.from_cfg(cfg)
        watch = Stopwatch()
        runner.register_hook(watch)
        runner.train()
        return watch.seconds()


def main() -> None:
    """Print a line for each companion."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('coco', type=coco_folder)
    parser.add_argument('name', nargs='*', help=f'of {"; ".join(COMPANIONS)}')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--iterations', type=int, default=15)
    args = parser.parse_args()
    unknown = set(args.name) - set(COMPANIONS)
    if unknown:
        parser.error(f'unknown name {", ".join(sorted(unknown))}: it is one '
                     f'of {"; ".join(COMPANIONS)}')
    if args.rounds < 1 or args.iterations < WARM_UP + 2:
        parser.error(f'--rounds must be at least 1 and --iterations '
                     f'{WARM_UP + 2}')
    warnings.simplefilter('ignore')
    for name in args.name or COMPANIONS:
        pairs = [[
            seconds(COMPANIONS[name], args.coco, args.iterations, with_it)
            for with_it in (False, True)
        ] for _ in range(args.rounds)]
        texts = []
        for clock, name_of_clock in enumerate(('time', 'processor')):
            ratios = sorted(
                [other[clock] / one[clock] for one, other in pairs])
            texts.append(f'{name_of_clock} {statistics.median(ratios):.3f} '
                         f'({ratios[0]:.3f} to {ratios[-1]:.3f})')
        without = statistics.median([one[1] for one, _ in pairs])
        print(
            f'{name}: {", ".join(texts)} times {1000 * without:.0f} ms of '
            'the processor',
            flush=True)


if __name__ == '__main__':
    with one_line_errors(OSError):
        main()
