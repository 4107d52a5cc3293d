"""Heads that call losses of heatmaps in ways of their own."""
import pytest
import torch

from mmlosses.losses import GaussianFocalLoss, KeypointMSELoss

pytestmark = pytest.mark.openmmlab
try:
    from mmdet.models.dense_heads import CenterNetUpdateHead
    from mmengine.structures import InstanceData, PixelData
    from mmpose.models.heads import AssociativeEmbeddingHead
    from mmpose.structures import PoseDataSample
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)


@pytest.fixture(autouse=True)
def torch_seed():
    torch.manual_seed(0)


def picture(people):
    """A picture of people with 3 keypoints, and a crowd without."""
    sample = PoseDataSample()
    mask = torch.ones(1, 4, 5)
    mask[:, 1:3, 2:4] = 0
    sample.gt_fields = PixelData(
        heatmaps=torch.rand(3, 4, 5), heatmap_mask=mask)
    sample.gt_instance_labels = InstanceData(
        keypoint_weights=torch.ones(people, 3),
        keypoint_indices=torch.zeros(people, 3, 2).long())
    return sample


@pytest.mark.parametrize('people', [1, 2])
def test_associative_embedding(people):
    """The head passes a mask, and the weights of people, not of pictures."""
    ours = dict(type=KeypointMSELoss, use_target_weight=people == 1)
    head = AssociativeEmbeddingHead(
        in_channels=6,
        num_keypoints=3,
        deconv_out_channels=None,
        keypoint_loss=ours)
    feats, samples = (torch.rand(2, 6, 4, 5), ), [picture(people)] * 2
    got = head.loss(feats, samples)['loss_kpt']
    heatmaps, _ = head(feats)
    fields = samples[0].gt_fields
    square = (heatmaps - fields.heatmaps).square()
    torch.testing.assert_close(got, (square * fields.heatmap_mask).mean())
    got.backward()
    stock = AssociativeEmbeddingHead(
        in_channels=6, num_keypoints=3, deconv_out_channels=None)
    stock.load_state_dict(head.state_dict())
    if people == 1:
        expected = stock.loss(feats, samples)['loss_kpt']
        torch.testing.assert_close(got, expected)
    else:  # it cannot ignore the weights
        with pytest.raises(AssertionError, match='mismatched shapes'):
            stock.loss(feats, samples)


@pytest.mark.parametrize('boxes', [(0, 0), (2, 0), (2, 1)])
def test_pictures_without_objects_in_centernet_update(boxes):
    """The head fills their targets with the number of classes."""
    head = CenterNetUpdateHead(
        num_classes=80,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=[8],
        regress_ranges=((0, 512), ),
        norm_cfg=None,
        loss_cls=dict(type='GaussianFocalLoss', neg_weight=0.75))
    objects = [
        InstanceData(
            bboxes=torch.tensor([[8., 8., 40., 40.], [20., 8., 60.,
                                                      50.]])[:number],
            labels=torch.tensor([3, 7])[:number]) for number in boxes
    ]
    maps = head([torch.randn(2, 8, 8, 8)])
    values = []
    for loss in (head.loss_cls, GaussianFocalLoss(neg_weight=0.75)):
        head.loss_cls = loss
        values.append(head.loss_by_feat(*maps, objects, [{}, {}])['loss_cls'])
    stock, ours = values
    if 0 in boxes:
        assert stock > 1000 * ours > 0
    if not any(boxes):
        prob = maps[0][0].sigmoid()
        right = -0.75 * prob.square() * (1 - prob).log()
        torch.testing.assert_close(ours, right.sum())
    if all(boxes):
        torch.testing.assert_close(ours, stock)
    grad, = torch.autograd.grad(ours, maps[0][0])
    assert torch.isfinite(grad).all() and (grad != 0).any()
