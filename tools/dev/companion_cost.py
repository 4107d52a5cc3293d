"""Measure what hooks, weights and SumLoss cost in a training.

    python tools/dev/companion_cost.py COCO [NAME ...] [--kind KIND ...]

COCO is a folder with a few images and their annotations in `test_coco.json`.
Stock models of mmdet and mmpose with a ResNet-18 are trained on them, with and
without each companion in turn. It prints the ratio of an iteration and of a
validation, as the median and range over the rounds: of the processor time,
which other programs disturb less, or with --wall of the wall clock.
"""
from __future__ import annotations
import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

from arguments import coco_folder, parse_names
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.hub import get_config
from mmengine.runner import Runner
from real_pictures import POSE, REGRESSION, retinanet_giou, small_backbone

from mmlosses.cli import one_line_errors

KINDS = {
    'retinanet': 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'fcos': 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'faster-rcnn': 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'simcc': POSE + 'simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py',
    'heatmap':
    POSE + 'topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
    'regression': REGRESSION + 'td-reg_res50_8xb64-210e_coco-256x192.py',
}


def training_config(kind: str,
                    coco: Path,
                    work_dir: Path,
                    size: Sequence[int] = (160, 128),
                    epochs: int = 1) -> Config:
    """A short training on a few images, with the stock pipelines.

    Args:
        kind (str): The model, one of ``KINDS``.
        coco (Path): The folder with the images.
        work_dir (Path): The folder of the logs.
        size (Sequence[int]): Width and height of the images of a detector, in
            pixels. Default: (160, 128).
        epochs (int): Number of epochs. Default: 1.
    """
    cfg = get_config(KINDS[kind])
    small_backbone(cfg.model)
    for name in ('train', 'val'):
        loader = cfg[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(
            data_root=str(coco),
            ann_file='test_coco.json',
            data_prefix=dict(img=''))
        loader.dataset.pop('bbox_file', None)
        if cfg.default_scope == 'mmdet':
            loader.dataset.metainfo = dict(classes=('person', ))
            for transform in loader.dataset.pipeline:
                if transform.type == 'Resize':
                    transform.scale = tuple(size)
    if cfg.default_scope == 'mmdet':
        cfg.model.get('roi_head', cfg.model).bbox_head.num_classes = 1
    cfg.train_dataloader.batch_size = 2
    cfg.val_evaluator.ann_file = str(coco / 'test_coco.json')
    # There are no images to test on.
    for name in ('test_dataloader', 'test_cfg', 'test_evaluator',
                 'auto_scale_lr'):
        cfg.pop(name, None)
    cfg.work_dir = str(work_dir)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
    cfg.val_cfg = dict()
    cfg.param_scheduler = []
    cfg.optim_wrapper = dict(
        optimizer=dict(type='SGD', lr=0.001), clip_grad=dict(max_norm=10))
    cfg.vis_backends = []
    cfg.visualizer = dict(type='Visualizer')
    cfg.randomness = dict(seed=0)
    cfg.log_level = 'WARNING'
    cfg.default_hooks = dict(
        logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
        checkpoint=dict(type='CheckpointHook', interval=-1, save_last=False))
    cfg.custom_hooks = []
    return cfg


Change = Callable[[Config], None]


class Companion(NamedTuple):
    """A companion of a loss in a training."""
    add: Change
    kinds: Sequence[str] = ('retinanet', 'regression')


def prepare(cfg: Config) -> None:
    """Use our losses, without any companion."""
    if 'loss' in cfg.model.get('head', {}):
        cfg.model.head.loss = dict(
            type='mmlosses.SmoothL1Loss', use_target_weight=True)
    else:
        retinanet_giou(cfg.model)
        cfg.model.bbox_head.update(
            loss_bbox=dict(type='mmlosses.GIoULoss'),
            loss_cls=dict(type='mmlosses.FocalLoss', use_sigmoid=True))


def sum_with(*others: Dict[str, Any], **kwargs: Any) -> Change:
    """Put the loss of the slot into a sum, with others."""

    def change(cfg: Config) -> None:
        head, slot = ((cfg.model.bbox_head,
                       'loss_bbox') if 'bbox_head' in cfg.model else
                      (cfg.model.head, 'loss'))
        head[slot] = dict(
            type='mmlosses.SumLoss', losses=[head[slot], *others], **kwargs)

    return change


def keypoint_weight(cfg: Config) -> None:
    """A weight for each keypoint of COCO."""
    cfg.model.head.loss.keypoint_weight = [0.5] * 9 + [1.5] * 8


def class_weight(cfg: Config) -> None:
    """A weight for each class."""
    cfg.model.bbox_head.loss_cls.class_weight = [1.5]


def schedule(cfg: Config) -> None:
    """Change the weight in each iteration."""
    path = ('bbox_head.loss_bbox'
            if 'bbox_head' in cfg.model else 'head.loss_module')
    cfg.custom_hooks = [
        dict(
            type='mmlosses.LossWeightHook',
            path=path,
            end_weight=0.5,
            by_epoch=False)
    ]


def hook(name: str) -> Change:
    """Add a hook."""
    return lambda cfg: cfg.update(custom_hooks=[dict(type=f'mmlosses.{name}')])


L1 = dict(type='mmlosses.L1Loss')
COMPANIONS = {
    'SumLoss of one':
    Companion(sum_with()),
    'SumLoss of two':
    Companion(sum_with(L1)),
    'SumLoss of two, learned weights':
    Companion(sum_with(L1, weighting='uncertainty')),
    'keypoint_weight':
    Companion(keypoint_weight, ['regression']),
    'class_weight':
    Companion(class_weight, ['retinanet']),
    'LossWeightHook':
    Companion(schedule),
    'LossDoctorHook':
    Companion(hook('LossDoctorHook')),
    'ValLossHook':
    Companion(hook('ValLossHook')),
}
# These two run with every model.
HOOKS = ('LossDoctorHook', 'ValLossHook')


class Stopwatch(Hook):
    """The times of iterations and validations, data included."""

    priority = 'LOWEST'

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.ends: List[float] = []
        self.validation = 0.0

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """Note the end of an iteration, after all other hooks."""
        self.ends.append(self.clock())

    def after_val_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Note the time since the last iteration."""
        self.validation = self.clock() - self.ends[-1]

    def iteration(self) -> float:
        """The median of an iteration after the first two."""
        return statistics.median(
            [b - a for a, b in zip(self.ends[1:], self.ends[2:])])


def measure(cfg: Config, change: Change,
            clock: Callable[[], float]) -> Tuple[float, float]:
    """Train, and return the seconds of an iteration and a validation."""
    cfg = cfg.copy()
    change(cfg)
    cfg.experiment_name = f'measure_{time.time()}'
    runner = Runner.from_cfg(cfg)
    watch = Stopwatch(clock)
    runner.register_hook(watch)
    runner.train()
    return watch.iteration(), watch.validation


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each companion and model."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('coco', type=coco_folder)
    parser.add_argument('name', nargs='*', help=f'of {"; ".join(COMPANIONS)}')
    parser.add_argument(
        '--kind',
        nargs='+',
        choices=KINDS,
        help=f'the models; others than retinanet and regression only for '
        f'{" and ".join(HOOKS)}')
    parser.add_argument('--size', type=int, nargs=2, default=(320, 256))
    parser.add_argument('--epochs', type=int, default=6)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--wall', action='store_true')
    args = parse_names(parser, 'name', COMPANIONS, argv)
    clock = time.perf_counter if args.wall else time.process_time
    warnings.simplefilter('ignore')
    for name in args.name or COMPANIONS:
        companion = COMPANIONS[name]
        kinds = companion.kinds if args.kind is None else [
            kind for kind in args.kind
            if kind in companion.kinds or name in HOOKS
        ]
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                cfg = training_config(kind, args.coco, Path(folder), args.size,
                                      args.epochs)
                if kind in ('retinanet', 'regression'):
                    prepare(cfg)
                pairs = [[
                    measure(cfg, change, clock)
                    for change in (lambda cfg: None, companion.add)
                ] for _ in range(args.rounds)]
            texts = []
            for index, what in enumerate(('iteration', 'validation')):
                ratios = sorted([
                    with_it[index] / without[index]
                    for without, with_it in pairs
                ])
                before = statistics.median([pair[0][index] for pair in pairs])
                texts.append(f'{what} {statistics.median(ratios):.3f} '
                             f'({ratios[0]:.3f} to {ratios[-1]:.3f}) of '
                             f'{1000 * before:.1f} ms')
            print(f'{name}, {kind}: {", ".join(texts)}', flush=True)


if __name__ == '__main__':
    with one_line_errors():
        main()
