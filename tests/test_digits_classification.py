"""Train every digits config for classification."""
import pytest
import torch

pytest.importorskip('sklearn', reason='the demo needs scikit-learn')

from helpers import ROOT, needs_dotted_paths
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from mmlosses.demo import CentreHead, ClassificationHead
from mmlosses.registry import MODELS

pytestmark = needs_dotted_paths


@pytest.mark.slow
@pytest.mark.parametrize('name, loss', [
    ('cross_entropy', 'CrossEntropyLoss'),
    ('label_smooth', 'LabelSmoothLoss'),
    ('focal', 'FocalLoss'),
    ('gaussian_focal', 'GaussianFocalLoss'),
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
    assert len(losses) == 2 and all(0 < x < 100 for x in losses)
    assert 0 <= scalars['val/accuracy'].current() <= 1
    assert 0.1 <= scalars['val/accuracy_chance'].current() < 0.5


def test_head_predicts_the_highest_score():
    head = ClassificationHead(
        dict(type='mmlosses.CrossEntropyLoss'), in_channels=2, num_classes=2)
    torch.nn.init.eye_(head.scores.weight)
    torch.nn.init.zeros_(head.scores.bias)
    features = torch.tensor([[1.0, 2.0], [2.0, 1.0]])[..., None, None]
    samples = head.predict(features, [BaseDataElement() for _ in range(2)])
    labels = [sample.pred_instances.labels.tolist() for sample in samples]
    assert labels == [[1], [0]]


def test_peak_is_at_the_centre():
    head = CentreHead(
        dict(type='mmlosses.GaussianFocalLoss', use_sigmoid=True),
        in_channels=3)
    centres = torch.tensor([[10.0, 20.5], [63.9, 0.0]])
    heatmaps = head.encode(centres, torch.tensor([3, 9]), 16)
    assert heatmaps.shape == (2, 10, 16, 16)
    assert torch.nonzero(heatmaps == 1).tolist() == [[0, 3, 5, 2],
                                                     [1, 9, 0, 15]]
    assert heatmaps[0, 3, 5, 3].item() == pytest.approx(0.6065, abs=1e-4)
    assert (heatmaps.flatten(2).sum(-1) > 0).sum() == 2
