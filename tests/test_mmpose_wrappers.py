"""The wrappers of losses in heads of mmpose."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData

pytestmark = pytest.mark.openmmlab
try:
    from mmpose.registry import MODELS
    from mmpose.structures import PoseDataSample
    from mmpose.utils import register_all_modules
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

from mmlosses import losses

KEYPOINTS, SIDE = 4, 8


def crowd(people):
    """A picture of several people."""
    sample = PoseDataSample()
    pixels = torch.randint(SIDE * SIDE, (people, KEYPOINTS))
    seen = torch.ones_like(pixels)
    seen[0, 0] = 0
    sample.gt_fields = PixelData(
        heatmaps=torch.rand(KEYPOINTS, SIDE, SIDE),
        heatmap_mask=torch.rand(SIDE, SIDE).round())
    # One row of weights for each picture: the heatmaps are of all people.
    labels = SimpleNamespace(
        keypoint_weights=torch.rand(1, KEYPOINTS).round(),
        keypoint_indices=torch.stack([pixels, seen], dim=-1))
    return SimpleNamespace(
        gt_fields=sample.gt_fields, gt_instance_labels=labels)


def test_ae_head_calls_a_combined_loss():
    """By the names of its losses, with the results of mmpose's."""
    register_all_modules(init_default_scope=False)
    torch.manual_seed(0)
    parts = dict(
        keypoint_loss=dict(type='KeypointMSELoss'),
        tag_loss=dict(type='AssociativeEmbeddingLoss', loss_weight=0.001))
    head = MODELS.build(
        dict(
            type='AssociativeEmbeddingHead',
            in_channels=6,
            num_keypoints=KEYPOINTS,
            deconv_out_channels=None,
            deconv_kernel_sizes=None,
            _scope_='mmpose',
            **{
                name: dict(loss, type=f"mmpose.{loss['type']}")
                for name, loss in parts.items()
            }))
    feats = (torch.randn(2, 6, SIDE, SIDE), )
    samples = [crowd(2), crowd(3)]
    results = []
    for loss in (None, dict(parts)):
        if loss is not None:
            head.loss_module = MODELS.build(
                dict(type='mmlosses.CombinedLoss', losses=loss))
            assert [
                type(x).__module__.partition('.')[0]
                for x in head.loss_module.values()
            ] == ['mmlosses'] * 2
        values = head.loss(feats, samples)
        grads = torch.autograd.grad(
            sum(values.values()), list(head.final_layer.parameters()))
        results.append((*values.values(), *grads))
    assert isinstance(head.loss_module, losses.CombinedLoss)
    for got, expected in zip(*results):
        torch.testing.assert_close(got, expected)
