"""``bg_cls_weight`` and ``class_weight`` of DETR's loss of classes."""
import copy

import pytest
import torch
from mmengine.config import Config

pytestmark = pytest.mark.openmmlab
try:
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(f'needs mmcv and mmdet: {error}', allow_module_level=True)

CLASSES = 80


def head_with(loss, config='detr/detr_r50_8xb2-150e_coco.py', **changes):
    """DETR's head, with its loss of classes merged over."""
    register_all_modules(init_default_scope=False)
    detr = 'mmdet::detr/detr_r50_8xb2-150e_coco.py'
    heads = [
        Config.fromstring(f"_base_ = '{base}'", '.py').model.bbox_head
        for base in (f'mmdet::{config}', detr)
    ]
    heads[0].update(changes)
    heads[0].loss_cls = copy.deepcopy(heads[1].loss_cls)
    heads[0].loss_cls.update(loss)
    return MODELS.build(heads[0])


@pytest.mark.slow
@pytest.mark.parametrize('loss', [
    dict(type='mmlosses.CrossEntropyLoss'),
    dict(type='mmlosses.LabelSmoothLoss', smoothing=0),
    dict(type='mmlosses.FocalLoss', gamma=0, alpha=-1),
    dict(
        type='mmlosses.SumLoss',
        losses=[dict(type='mmlosses.CrossEntropyLoss')])
])
def test_the_background_weighs_a_tenth(loss):
    """As in stock: the head makes a weight for each class of the two."""
    head, stock = head_with(loss), head_with({})
    torch.manual_seed(0)
    scores = torch.randn(100, CLASSES + 1, requires_grad=True)
    labels = torch.randint(CLASSES + 1, (100, ))
    labels[::2] = CLASSES
    # As DETRHead counts: a match is 1, all others 0.1.
    factor = 50 + 0.1 * 50
    results = []
    for each in (head, stock):
        assert each.bg_cls_weight == 0.1
        weights = each.loss_cls.class_weight
        assert torch.as_tensor(weights).tolist() == pytest.approx([1.0] *
                                                                  CLASSES +
                                                                  [0.1])
        value = each.loss_cls(
            scores, labels, torch.ones(100), avg_factor=factor)
        results.append((value, *torch.autograd.grad(value, scores)))
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('loss', [
    dict(type='mmlosses.QualityFocalLoss', use_sigmoid=True),
    dict(type='mmlosses.BalancedBCELoss')
])
def test_a_loss_without_class_weights_says_so(loss):
    with pytest.raises(
            TypeError, match=r"Loss got an .* 'class_weight': .*_delete_"):
        head_with(loss)


def test_a_number_for_each_class_is_explained():
    """A subclass of DETRHead passes both numbers on as they are."""
    deformable = dict(
        config='deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
        share_pred_layer=False,
        num_pred_layer=2,
        as_two_stage=False)
    ours = dict(type='mmlosses.CrossEntropyLoss')
    with pytest.raises(TypeError, match="'bg_cls_weight': only DETRHead"):
        head_with(ours, **deformable)
