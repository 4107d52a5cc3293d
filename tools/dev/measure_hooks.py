"""Measure what a hook costs: ``python tools/measure_hooks.py COCO HOOK``.

It trains a stock model of mmdet or mmpose, with a ResNet-18, on the pictures
of COCO, a folder with `test_coco.json`, with the hook and without it, one
after the other in each round, and prints the milliseconds of an iteration and
of a validation: of the processor, which others on the machine disturb less,
or with `--wall` of the clock. For example:

    python tools/measure_hooks.py COCO mmlosses.LossDoctorHook --kind simcc
"""
from __future__ import annotations
import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

from mmengine.config import Config, DictAction
from mmengine.hooks import Hook
from mmengine.hub import get_config
from mmengine.runner import Runner
from real_pictures import POSE, coco_folder, small_backbone

from mmlosses.cli import key_value, one_line_errors

KINDS = {
    'retinanet':
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'fcos':
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'faster-rcnn':
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'simcc':
    POSE + 'simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py',
    'heatmap':
    POSE + 'topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
}


def training_config(kind: str,
                    coco: Path,
                    work_dir: Path,
                    size: Sequence[int] = (160, 128),
                    epochs: int = 1) -> Config:
    """A short training on a few pictures, with the pipelines of stock.

    Args:
        kind (str): Which model, of ``KINDS``.
        coco (Path): The folder with the pictures.
        work_dir (Path): Where logs go.
        size (Sequence[int]): Width and height that pictures are resized to
            for a detector, in pixels. Default: (160, 128).
        epochs (int): How often each picture is seen. Default: 1.

    Returns:
        Config: Of the whole training.
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
    # Of the test there are no pictures.
    for name in ('test_dataloader', 'test_cfg', 'test_evaluator',
                 'auto_scale_lr'):
        cfg.pop(name, None)
    cfg.work_dir = str(work_dir)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
    cfg.val_cfg = dict()
    cfg.param_scheduler = []
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.001))
    cfg.vis_backends = []
    cfg.visualizer = dict(type='Visualizer')
    cfg.randomness = dict(seed=0)
    cfg.log_level = 'WARNING'
    cfg.default_hooks = dict(
        logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
        checkpoint=dict(type='CheckpointHook', interval=-1, save_last=False))
    cfg.custom_hooks = []
    return cfg


class Stopwatch(Hook):
    """The times that iterations and validations take, data included."""

    priority = 'LOWEST'

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.ends: List[float] = []
        self.validations: List[float] = []

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """Note when an iteration ends, with all of its hooks."""
        self.ends.append(self.clock())

    def after_val_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Note how long it is since the last iteration."""
        self.validations.append(self.clock() - self.ends[-1])

    def milliseconds(self) -> Tuple[float, float]:
        """Of an iteration and of a validation, the first two left out."""
        steps = [b - a for a, b in zip(self.ends[1:], self.ends[2:])]
        return (1e3 * statistics.median(steps),
                1e3 * statistics.median(self.validations))


def measure(cfg: Config, hooks: List[Dict[str, Any]],
            clock: Callable[[], float]) -> Tuple[float, float]:
    """Train with some hooks, and return the milliseconds."""
    cfg = cfg.copy()
    cfg.custom_hooks = hooks
    cfg.experiment_name = f'measure_{time.time()}'
    runner = Runner.from_cfg(cfg)
    watch = Stopwatch(clock)
    runner.register_hook(watch)
    runner.train()
    return watch.milliseconds()


def main(argv: Sequence[str] | None = None) -> None:
    """Measure by turns, and print each round and the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('coco', type=coco_folder)
    parser.add_argument('hook', help='such as mmlosses.LossDoctorHook')
    parser.add_argument(
        '--args',
        nargs='+',
        type=key_value,
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='arguments of the hook')
    parser.add_argument('--kind', choices=KINDS, default='retinanet')
    parser.add_argument('--size', type=int, nargs=2, default=(320, 256))
    parser.add_argument('--epochs', type=int, default=6)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--wall', action='store_true')
    args = parser.parse_args(argv)
    clock = time.perf_counter if args.wall else time.process_time
    hook = dict(args.args, type=args.hook)
    rows = []
    print('iteration, ms: without, with, ratio; validation, ms: the same')
    with tempfile.TemporaryDirectory() as folder:
        cfg = training_config(args.kind, args.coco, Path(folder), args.size,
                              args.epochs)
        for _ in range(args.rounds):
            (step, val), (hook_step, hook_val) = [
                measure(cfg, hooks, clock) for hooks in ([], [hook])
            ]
            rows.append((step, hook_step, hook_step / step, val, hook_val,
                         hook_val / val))
            print(line(rows[-1]), flush=True)
    print('median ' + line([statistics.median(x) for x in zip(*rows)]))


def line(row: Sequence[float]) -> str:
    """A round, in a line."""
    return '{:.1f} {:.1f} {:.3f}; {:.1f} {:.1f} {:.3f}'.format(*row)


if __name__ == '__main__':
    with one_line_errors():
        main()
