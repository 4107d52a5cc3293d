"""KLDiscretLoss in mmpose trainings on real images."""
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from mmengine.config import Config
from mmengine.runner import Runner

pytestmark = [pytest.mark.openmmlab, pytest.mark.slow]
try:
    import mmpose.models
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

CONFIG = ROOT / 'configs/mmpose/simcc_res50_kl_discret_coco-256x192.py'
STOCK = dict(type='KLDiscretLoss', use_target_weight=True)
SIZE = (144, 192)


def small_config(coco, work_dir, epochs, loss=None):
    """The config with a ResNet-18, small images and no augmentation."""
    cfg = Config.fromfile(str(CONFIG))
    codec = dict(cfg.codec, input_size=SIZE)
    if loss is not None:
        cfg.model.head.loss = loss
    cfg.model.backbone.update(depth=18, init_cfg=None)
    cfg.model.head.update(
        in_channels=512,
        input_size=SIZE,
        in_featuremap_size=(5, 6),
        decoder=codec)
    cfg.model.test_cfg.flip_test = False
    steps = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=SIZE),
        dict(type='GenerateTarget', encoder=codec),
        dict(type='PackPoseInputs'),
    ]
    for loader, pipeline in ((cfg.train_dataloader, steps),
                             (cfg.val_dataloader, steps[:3] + steps[4:])):
        loader.update(batch_size=6, num_workers=0, persistent_workers=False)
        loader.dataset.update(
            data_root=str(coco),
            ann_file='test_coco.json',
            data_prefix=dict(img=''),
            pipeline=pipeline)
    cfg.val_dataloader.dataset.bbox_file = None
    cfg.val_evaluator.ann_file = str(coco / 'test_coco.json')
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    cfg.param_scheduler = [
        dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True)
    ]
    cfg.randomness = dict(seed=0)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{work_dir.parent.name}_{work_dir.name}'
    return cfg


def train(cfg):
    """Train; return the losses of all iterations and the final metrics."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    return (scalars['train/loss'].data[0].tolist(), {
        name[len('val/'):]: scalar.current()
        for name, scalar in scalars.items() if name.startswith('val/')
    })


def test_config_trains_with_mmpose_tool(coco, tmp_path):
    """The name in the config is enough: no import, no custom_imports."""
    assert 'import' not in CONFIG.read_text()
    tool = Path(mmpose.__file__).parent / '.mim/tools/train.py'
    done = subprocess.run([
        sys.executable, tool, CONFIG, '--work-dir', tmp_path, '--no-validate',
        '--cfg-options', 'model.backbone.init_cfg=None',
        f'train_dataloader.dataset.data_root={coco}',
        'train_dataloader.dataset.ann_file=test_coco.json',
        'train_dataloader.dataset.data_prefix.img=',
        'train_dataloader.batch_size=6', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False', 'train_cfg.max_epochs=1',
        'default_hooks.logger.interval=1'
    ],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          universal_newlines=True,
                          cwd=str(tmp_path))
    assert done.returncode == 0, done.stdout[-3000:]
    assert 'Epoch(train) [1][2/2]' in done.stdout
    assert "type='mmlosses.KLDiscretLoss'" in done.stdout


def test_matches_stock_loss_curve(coco, tmp_path):
    """Same seed, ten iterations: equal to 1e-5."""
    curves = [
        train(small_config(coco, tmp_path / name, 5, loss))[0]
        for name, loss in (('ours', None), ('stock', STOCK))
    ]
    worst = max(abs(ours - stock) / abs(stock) for ours, stock in zip(*curves))
    print(f'worst relative difference of ten losses: {worst:.1e}')
    assert len(curves[0]) == len(curves[1]) == 10
    assert curves[0][-1] < 0.9 * curves[0][0]
    assert worst <= 1e-5


def test_overfits_the_images(coco, tmp_path):
    """mmpose's COCO metric after 90 epochs on twelve people."""
    losses, metrics = train(small_config(coco, tmp_path / 'fit', 90))
    print(f'COCO AP {metrics["coco/AP"]:.3f}')
    assert losses[-1] < 0.1 * losses[0]
    assert metrics['coco/AP'] >= 0.95
