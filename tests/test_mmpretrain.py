"""Losses resolve by name in mmpretrain's classifiers."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope

pytestmark = pytest.mark.openmmlab
try:
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample
except (ImportError, AssertionError) as error:
    pytest.skip(f'needs mmpretrain: {error}', allow_module_level=True)


@pytest.mark.parametrize('loss, smoothing', [
    (dict(type='mmlosses.CrossEntropyLoss'), 0.0),
    (dict(
        type='mmlosses.LabelSmoothLoss', smoothing=0.1,
        distribute='uniform'), 0.1),
])
def test_classifier(loss, smoothing):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(
        Config(
            dict(
                type='ImageClassifier',
                backbone=dict(type='ResNet', depth=18),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(
                    type='LinearClsHead',
                    num_classes=5,
                    in_channels=512,
                    loss=loss))))
    model.eval()  # fixed statistics
    inputs, labels = torch.rand(3, 3, 32, 32), torch.tensor([0, 4, 2])
    samples = [DataSample().set_gt_label(label) for label in labels]
    got = model.loss(inputs, samples)['loss']
    scores = model.head(model.extract_feat(inputs))
    expected = F.cross_entropy(scores, labels, label_smoothing=smoothing)
    torch.testing.assert_close(got, expected)
    got.backward()
    assert model.backbone.conv1.weight.grad.isfinite().all()
