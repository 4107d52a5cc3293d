"""Train real detectors and pose estimators on real images, ours and stock.

    python tools/dev/real_pictures.py COCO [KIND ...] [--iterations N]

COCO is a folder with a few images and their annotations in `test_coco.json`.
Each kind is a stock config of mmdet or mmpose with a small backbone. It is
trained twice with the same seed, with the stock losses and with ours. The
curves of drop-in replacements must coincide. The curves go into
configs/real_pictures.json, which keeps the kinds that are not named. Picture
and table show all of them.
"""
from __future__ import annotations
import argparse
import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import numpy as np
import torch
from arguments import coco_folder, parse_names
from mmengine.dataset import pseudo_collate
from mmengine.hub import get_config
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope
from pages import CONFIGS, write_block

from mmlosses.cli import one_line_errors, write_whole

Change = Callable[[Any], None]


@dataclass
class Kind:
    """One detector or pose estimator.

    Args:
        config (str): The stock config, with the name of its project.
        ours (Callable): Puts the losses of mmlosses into the model.
        drop_in (bool): If True, ours must return the values of stock.
        both (Callable): Changes the model for both trainings.
        size (tuple[int]): Width and height of the pictures.
        lr (float): Learning rate.
    """
    config: str
    ours: Change
    drop_in: bool = True
    both: Change = lambda model: None
    size: Sequence[int] = (160, 128)
    lr: float = 0.01


def swap(*paths: str) -> Change:
    """Put the scope before the type of some losses."""

    def change(model: Any) -> None:
        for path in paths:
            loss = model
            for name in path.split('.'):
                loss = loss[name]
            loss.type = f'mmlosses.{loss.type}'

    return change


def retinanet_giou(model: Any) -> None:
    """RetinaNet with decoded boxes and mmdet's GIoULoss."""
    model.bbox_head.reg_decoded_bbox = True
    model.bbox_head.loss_bbox = dict(type='GIoULoss', loss_weight=2.0)


def arcface(model: Any) -> None:
    """Faster R-CNN over cosines, with a margin."""
    model.roi_head.bbox_head.update(
        cls_predictor_cfg=dict(
            type='NormedLinear', tempearture=30.0, bias=False),
        loss_cls=dict(
            type='mmlosses.ArcFaceLogitLoss',
            scale=30.0,
            margin=0.5,
            background=True))


def small_cornernet(model: Any) -> None:
    """CornerNet with one small hourglass."""
    model.backbone = dict(
        type='HourglassNet',
        downsample_times=3,
        num_stacks=1,
        stage_channels=[64, 64, 96, 96],
        stage_blocks=[1, 1, 1, 2],
        feat_channel=64,
        norm_cfg=dict(type='BN', requires_grad=True))
    model.bbox_head.update(num_feat_levels=1, in_channels=64)


def simcc(model: Any) -> None:
    """SimCC, summed over the batch as in mmpose."""
    model.head.loss = dict(
        type='mmlosses.KLDiscretLoss',
        use_target_weight=True,
        size_average=False)


def propel(model: Any) -> None:
    """One Gaussian for each keypoint instead of a normalising flow."""
    model.head.loss = dict(
        type='mmlosses.KeypointPROPELLoss', sigma=0.1, use_target_weight=True)


POSE = 'mmpose::body_2d_keypoint/'
REGRESSION = POSE + 'topdown_regression/coco/'
KINDS = {
    'RetinaNet, focal and GIoU':
    Kind(
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        swap('bbox_head.loss_cls', 'bbox_head.loss_bbox'),
        both=retinanet_giou),
    'FCOS, focal, IoU, centerness':
    Kind(
        'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        swap('bbox_head.loss_cls', 'bbox_head.loss_bbox',
             'bbox_head.loss_centerness'),
        lr=0.001),
    'Faster R-CNN, ArcFace logits':
    Kind('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', arcface, False),
    'CornerNet, all three':
    Kind(
        'mmdet::cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py',
        swap('bbox_head.loss_heatmap', 'bbox_head.loss_embedding',
             'bbox_head.loss_offset'),
        both=small_cornernet,
        size=(128, 128),
        lr=0.001),
    'SOLO, Dice and focal':
    Kind(
        'mmdet::solo/solo_r50_fpn_1x_coco.py',
        swap('mask_head.loss_mask', 'mask_head.loss_cls'),
        lr=0.001),
    'SimCC':
    Kind(
        POSE + 'simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py',
        simcc,
        lr=1.0),
    'RLE head, PROPEL':
    Kind(REGRESSION + 'td-reg_res50_rle-8xb64-210e_coco-256x192.py', propel,
         False),
    'Regression, smooth L1':
    Kind(REGRESSION + 'td-reg_res50_8xb64-210e_coco-256x192.py',
         swap('head.loss')),
}


def small_backbone(model: Any) -> None:
    """Replace a ResNet by a ResNet-18 without pretrained weights."""
    if model.backbone.type == 'ResNet':
        model.backbone.update(depth=18, init_cfg=None, frozen_stages=-1)
        model.backbone.norm_cfg = dict(type='BN', requires_grad=True)
        model.backbone.norm_eval = False
        if 'style' in model.backbone:
            model.backbone.style = 'pytorch'
    if (model.get('neck') or {}).get('type') == 'FPN':
        model.neck.in_channels = [64, 128, 256, 512]
    if model.get('head', {}).get('in_channels') == 2048:
        model.head.in_channels = 512


def detection_data(coco: Path, size: Sequence[int]) -> Dict[str, Any]:
    """All images with their boxes and masks, as one dataset."""
    return dict(
        type='CocoDataset',
        data_root=str(coco),
        ann_file='test_coco.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('person', )),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='Resize', scale=tuple(size), keep_ratio=False),
            dict(type='PackDetInputs')
        ])


def pose_data(coco: Path, codec: Dict[str, Any]) -> Dict[str, Any]:
    """All people with keypoints, as one dataset."""
    return dict(
        type='CocoDataset',
        data_mode='topdown',
        data_root=str(coco),
        ann_file='test_coco.json',
        data_prefix=dict(img=''),
        pipeline=[
            dict(type='LoadImage'),
            dict(type='GetBBoxCenterScale'),
            dict(type='TopdownAffine', input_size=codec['input_size']),
            dict(type='GenerateTarget', encoder=codec),
            dict(type='PackPoseInputs')
        ])


def train(kind: Kind, coco: Path, iterations: int, ours: bool) -> List[float]:
    """The loss of each iteration, with all images in each batch."""
    scope = kind.config.partition('::')[0]
    init_default_scope(scope)
    cfg = get_config(kind.config)
    small_backbone(cfg.model)
    kind.both(cfg.model)
    if ours:
        kind.ours(cfg.model)
    data = (
        detection_data(coco, kind.size) if scope == 'mmdet' else pose_data(
            coco, cfg.codec))
    dataset = DATASETS.build(data)
    batch = pseudo_collate([dataset[i] for i in range(len(dataset))])
    torch.manual_seed(0)
    np.random.seed(0)
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    if kind.drop_in:
        model.double()
    # Not Adam: its first steps depend on the sign of rounding errors.
    optimizer = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=kind.lr, momentum=0.9),
        clip_grad=dict(max_norm=10))
    torch.manual_seed(1)
    return [
        model.train_step(copy.deepcopy(batch), optimizer)['loss'].item()
        for _ in range(iterations)
    ]


def worst_difference(ours: Sequence[float], stock: Sequence[float]) -> float:
    """The largest relative difference of two curves."""
    return max(abs(one - other) / other for one, other in zip(ours, stock))


def draw(curves: Dict[str, Dict[str, List[float]]], path: Path) -> None:
    """Draw a panel for each kind, ours over stock."""
    from matplotlib.figure import Figure
    rows = -(-len(curves) // 4)
    figure = Figure(figsize=(14, 3.2 * rows), layout='constrained')
    panels = figure.subplots(rows, 4, squeeze=False).flatten()
    for axes, (name, pair) in zip(panels, curves.items()):
        for label, style in (('stock', '-'), ('mmlosses', '--')):
            values = np.asarray(pair[label])
            # Losses differ in scale.
            axes.plot(values / values[0], style, linewidth=2, label=label)
        axes.set(title=name, xlabel='iteration', ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    for axes in panels[len(curves):]:
        axes.axis('off')
    panels[0].set_ylabel('loss / loss of the first iteration')
    figure.savefig(path, dpi=90)


def row(name: str, pair: Dict[str, List[float]]) -> str:
    """A line of the table."""
    ours, stock = pair['mmlosses'], pair['stock']
    worst = (f'{worst_difference(ours, stock):.1e}'
             if KINDS[name].drop_in else 'different loss')
    return (f'| {name} | {stock[0]:.5g} | {stock[-1]:.5g} | {ours[0]:.5g} '
            f'| {ours[-1]:.5g} | {worst} |')


def main() -> None:
    """Train each kind twice and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('coco', type=coco_folder)
    parser.add_argument('kind', nargs='*', help=f'of {", ".join(KINDS)}')
    parser.add_argument('--iterations', type=int, default=20)
    parser.add_argument('--out', type=Path, default=CONFIGS)
    args = parse_names(parser, 'kind', KINDS)
    args.out.mkdir(parents=True, exist_ok=True)
    record = args.out / 'real_pictures.json'
    curves = json.loads(record.read_text()) if record.exists() else {}
    for name in args.kind or KINDS:
        curves[name] = {
            label: train(KINDS[name], args.coco, args.iterations, ours)
            for label, ours in (('stock', False), ('mmlosses', True))
        }
        print(row(name, curves[name]), flush=True)
        write_whole(record, json.dumps(curves, indent=1) + '\n')
    curves = {name: curves[name] for name in KINDS if name in curves}
    draw(curves, args.out / 'real_pictures.png')
    head = ('| kind | stock, first loss | last | mmlosses, first loss | last '
            '| worst relative difference |\n| --- | --- | --- | --- | --- | '
            '--- |\n')
    write_block(args.out / 'README.md', 'real pictures',
                head + '\n'.join([row(name, curves[name]) for name in curves]))


if __name__ == '__main__':
    with one_line_errors(OSError, UnicodeDecodeError, json.JSONDecodeError):
        main()
