"""Train every digits config for embeddings."""
import math

import pytest
import torch

pytest.importorskip('sklearn', reason='the demo needs scikit-learn')

from helpers import ROOT, needs_dotted_paths
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from mmlosses.demo import EmbeddingHead

CONFIGS = ('arcface', 'ccs', 'center_softmax', 'modified_softmax', 'normface')


@pytest.mark.slow
@needs_dotted_paths
@pytest.mark.parametrize('name', CONFIGS)
def test_one_epoch_of_every_config(name, tmp_path):
    config = Config.fromfile(ROOT / f'configs/digits/{name}.py')
    config.work_dir = str(tmp_path)
    config.train_cfg.update(max_epochs=1, val_interval=1)
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.batch_size = 4
        loader.dataset.num_scenes = 8
    runner = Runner.from_cfg(config)
    head = runner.model.head
    before = head.loss_module.weight.detach().clone()
    runner.train()
    loss = runner.message_hub.get_scalar('train/loss').current()
    assert math.isfinite(loss)
    accuracy = runner.message_hub.get_scalar('val/accuracy').current()
    assert 0 <= accuracy <= 1
    # The model's optimizer updates the class vectors of the loss.
    assert not torch.equal(head.loss_module.weight, before)
    names = torch.load(
        tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    assert 'head.loss_module.weight' in names


def test_label_is_the_highest_logit_of_the_loss():
    head = EmbeddingHead(
        dict(type='mmlosses.ArcFaceLoss', num_classes=10, in_channels=16),
        in_channels=4)
    features = torch.randn(3, 4, 16, 16)
    samples = head.predict(features, [BaseDataElement() for _ in range(3)])
    expected = head.loss_module.logits(head(features)).argmax(1)
    got = [sample.pred_instances.labels for sample in samples]
    assert torch.equal(torch.cat(got), expected)
