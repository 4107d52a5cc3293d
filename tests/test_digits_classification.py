"""The digits are classified with each loss."""
import pytest
import torch

pytest.importorskip('sklearn', reason='the demo needs scikit-learn')

from conftest import ROOT, needs_dotted_paths
from mmengine.config import Config
from mmengine.runner import Runner

from mmlosses.demo import ClassificationHead
from mmlosses.registry import MODELS

pytestmark = needs_dotted_paths


@pytest.mark.parametrize('name, loss', [
    ('cross_entropy', 'CrossEntropyLoss'),
    ('label_smooth', 'LabelSmoothLoss'),
    ('focal', 'FocalLoss'),
])
def test_config_trains(name, loss, tmp_path):
    cfg = Config.fromfile(str(ROOT / f'configs/digits/{name}.py'))
    cfg.train_dataloader.dataset.num_scenes = 100
    cfg.val_dataloader.dataset.num_scenes = 20
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.default_hooks.checkpoint.interval = 1
    cfg.work_dir = str(tmp_path)
    cfg.experiment_name = f'{name}_{tmp_path.name}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    head = runner.model.head
    assert type(head.loss_module) is MODELS.get(f'mmlosses.{loss}')
    scalars = runner.message_hub.log_scalars
    losses = scalars['train/loss'].data[0]
    assert len(losses) == 2 and all(0 < x < 10 for x in losses)
    assert 0 <= scalars['val/accuracy'].current() <= 1
    assert 0.1 <= scalars['val/accuracy_chance'].current() < 0.5


def test_head_predicts_the_highest_score():
    head = ClassificationHead(
        dict(type='mmlosses.CrossEntropyLoss'), in_channels=3, num_classes=4)
    assert head(torch.rand(2, 3, 5, 5)).shape == (2, 4)
