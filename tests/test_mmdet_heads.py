"""The adapter heads in mmdet's detectors, named by configs."""
import copy
import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from detectors import MODELS, demo_mm_inputs, mmdet, register_all_modules
from helpers import ROOT
from mmdet.structures.bbox import bbox2roi
from mmdet.testing import demo_mm_sampling_results
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from mmlosses.heads.ccs import CCSBBoxHead
from mmlosses.heads.corner import CornerNetHead
from mmlosses.heads.cosine import CosineLinear, WeightNormLinear

pytestmark = pytest.mark.openmmlab

OURS = ROOT / 'configs/mmdet'
STOCK = Path(mmdet.__file__).parent / '.mim/configs'
FASTER_RCNN = STOCK / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
CORNERNET = (
    STOCK / 'cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py')
# Features and classes, with background, of the last layer.
FC_CLS = (64, 81)
IMAGES = [[3, 64, 96], [3, 64, 64]]


def build(config, change=None):
    """A small seeded detector."""
    register_all_modules()
    model = Config.fromfile(str(config)).model
    model.backbone.init_cfg = None
    if model.type == 'CornerNet':
        model.backbone.update(
            downsample_times=2,
            stage_channels=(16, 16, 24),
            stage_blocks=(1, 1, 1),
            feat_channel=16)
        model.bbox_head.in_channels = 16
    else:
        model.backbone.depth = 18
        model.neck.update(in_channels=[64, 128, 256, 512], out_channels=32)
        model.rpn_head.update(in_channels=32, feat_channels=32)
        model.train_cfg.rpn_proposal.max_per_img = 100
        for cfg in listed(model.train_cfg.rcnn):
            cfg.sampler.num = 64
        for extractor in ('bbox_roi_extractor', 'mask_roi_extractor'):
            for cfg in listed(model.roi_head.get(extractor)):
                cfg.out_channels = 32
        for cfg in listed(model.roi_head.bbox_head):
            cfg.update(in_channels=32, fc_out_channels=FC_CLS[0])
        if 'mask_head' in model.roi_head:
            model.roi_head.mask_head.update(in_channels=32, num_convs=1)
    if change is not None:
        change(model)
    torch.manual_seed(0)
    detector = MODELS.build(model).train()
    detector.init_weights()
    return detector


def listed(cfg):
    """The configs of all stages."""
    if cfg is None:
        return []
    return cfg if isinstance(cfg, list) else [cfg]


def step(detector, num_items=(2, 1)):
    """Losses on a fake batch; the gradients stay in the detector."""
    inputs = demo_mm_inputs(2, IMAGES, list(num_items), with_mask=True)
    data = detector.data_preprocessor(inputs, True)
    np.random.seed(0)
    torch.manual_seed(0)
    detector.zero_grad()
    total, losses = detector.parse_losses(detector(**data, mode='loss'))
    total.backward()
    return {name: value.item() for name, value in losses.items()}


def gradient_norm(module):
    """The norm over all parameters that have a gradient."""
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    return math.sqrt(sum(grad.double().square().sum() for grad in grads))


def predict(detector):
    """Predicted boxes of the fake batch."""
    detector.eval()
    with torch.no_grad():
        samples = detector.test_step(
            demo_mm_inputs(2, IMAGES, [2, 1], with_mask=True))
    detector.train()
    return samples


@pytest.mark.slow
@pytest.mark.parametrize('name, loss, head', [
    ('faster-rcnn_ccs', 'loss_ccs', CCSBBoxHead),
    ('cornernet_composite', 'focal_loss', CornerNetHead),
    ('faster-rcnn_normface', 'loss_cls', CosineLinear),
    ('faster-rcnn_modified_softmax', 'loss_cls', WeightNormLinear),
    ('faster-rcnn_arcface_logit', 'loss_cls', CosineLinear),
])
def test_detector_trains_and_predicts(name, loss, head):
    detector = build(OURS / f'{name}.py')
    assert any(type(module) is head for module in detector.modules())
    optimizer = torch.optim.Adam(detector.parameters(), lr=1e-3)
    before = step(detector)
    assert all(math.isfinite(value) for value in before.values())
    assert 0 < gradient_norm(detector.backbone) < 1e8
    for _ in range(20):
        optimizer.step()
        after = step(detector)
    assert after['loss'] < 0.5 * before['loss']
    assert after[loss] < 0.9 * before[loss]
    samples = predict(detector)
    found = InstanceData.cat([sample.pred_instances for sample in samples])
    assert len(found) > 0 and found.bboxes.isfinite().all()
    assert 0 < found.scores.min() and found.scores.max() <= 1
    labels = torch.cat([sample.gt_instances.labels for sample in samples])
    assert found.labels[found.scores.argmax()] in labels


def test_ccs_adds_to_the_stock_head():
    stock, ours = build(FASTER_RCNN), build(OURS / 'faster-rcnn_ccs.py')
    ours.load_state_dict(stock.state_dict())
    expected, got = step(stock), step(ours)
    expected['loss'] += got['loss_ccs']
    assert 0 < got.pop('loss_ccs') < 1
    assert got == pytest.approx(expected, rel=1e-5)
    # Stock detections have scores below the usual threshold.
    for detector in (stock, ours):
        detector.roi_head.test_cfg.score_thr = 0.0
    for one, other in zip(predict(stock), predict(ours)):
        assert len(one.pred_instances) > 0
        for key, value in one.pred_instances.items():
            assert torch.equal(value, other.pred_instances[key])


def ccs_by_hand(head, features, rois, results, soft):
    """The loss in plain Python, from the RoI features."""
    embeddings = features.flatten(1)
    for layer in head.shared_fcs:
        embeddings = layer(embeddings).relu()
    losses, row = [], 0
    for result in results:
        for n, (box, label) in enumerate(
                zip(result.pos_gt_bboxes, result.pos_gt_labels)):
            x, v = embeddings[row + n], head.fc_cls.weight[label]
            cosine = (x @ v) / (x.norm() * v.norm())
            x0, y0, x1, y1 = rois[row + n, 1:].tolist()
            a0, b0, a1, b1 = box.tolist()
            width = min(x1, a1) - max(x0, a0)
            height = min(y1, b1) - max(y0, b0)
            inter = max(0, width) * max(0, height)
            union = (x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - inter
            weight = inter / union if soft else 1
            losses.append(weight * (1 - cosine.item()) / 2)
        row += len(result.priors)
    return sum(losses) / len(losses)


@pytest.fixture
def sampled():
    """RoIs near objects and elsewhere, in two images."""
    register_all_modules()
    gts, proposals = [], []
    first = [[5., 5, 45, 45], [50, 10, 90, 60]]
    second = [[20., 20, 80, 70]]
    for boxes, labels in ((first, [3, 0]), (second, [2])):
        boxes = torch.tensor(boxes)
        gts.append(InstanceData(bboxes=boxes, labels=torch.tensor(labels)))
        shifts = torch.tensor([3., 7, 60]).view(-1, 1, 1)
        proposals.append(
            InstanceData(bboxes=(boxes + shifts).flatten(0, 1).clone()))
    torch.manual_seed(0)
    results = demo_mm_sampling_results(proposals, gts)
    rois = bbox2roi([result.priors for result in results])
    return results, rois, torch.rand(len(rois), 8, 7, 7)


@pytest.mark.parametrize('soft', [False, True])
def test_ccs_takes_embeddings_class_vectors_and_iou(sampled, soft):
    results, rois, features = sampled
    head = CCSBBoxHead(
        in_channels=8,
        fc_out_channels=16,
        num_classes=5,
        loss_ccs=dict(type='mmlosses.CCSLoss', soft=soft))
    # A copy, such as an averaged model, must use its own embeddings.
    twin = copy.deepcopy(head)
    for parameter in twin.parameters():
        torch.nn.init.normal_(parameter)

    def loss(head):
        return head.loss_and_target(
            *head(features), rois, results,
            ConfigDict(pos_weight=-1))['loss_bbox']['loss_ccs']

    head(features)
    for one in (twin, head):
        expected = ccs_by_hand(one, features, rois, results, soft)
        assert loss(one).item() == pytest.approx(expected, rel=1e-5)
    # ValLossHook computes the loss in evaluation mode.
    assert loss(head.eval()).item() == pytest.approx(expected, rel=1e-5)
    copy.deepcopy(head)


def test_ccs_without_objects():
    register_all_modules()
    head = CCSBBoxHead(in_channels=8, fc_out_channels=16, num_classes=5)
    gt = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    proposals = InstanceData(bboxes=torch.tensor([[0., 0, 9, 9]]))
    results = demo_mm_sampling_results([proposals], [gt])
    rois = bbox2roi([result.priors for result in results])
    losses = head.loss_and_target(*head(torch.rand(1, 8, 7, 7)), rois, results,
                                  ConfigDict(pos_weight=-1))['loss_bbox']
    assert losses['loss_ccs'] == 0 and losses['loss_ccs'].requires_grad


@pytest.mark.parametrize('config, stages', [
    (STOCK / 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', 3),
    (STOCK / 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 1),
])
def test_ccs_in_other_two_stage_detectors(config, stages):

    def change(model):
        for cfg in listed(model.roi_head.bbox_head):
            cfg.type = 'mmlosses.heads.ccs.CCSBBoxHead'

    losses = step(build(config, change))
    ccs = [value for name, value in losses.items() if 'loss_ccs' in name]
    assert len(ccs) == stages
    assert all(0 < value < 1 for value in ccs)


@pytest.fixture(scope='module')
def corner_net():
    return build(OURS / 'cornernet_composite.py')


def test_two_stack_composite_halves_tag_losses(corner_net):
    stock = build(CORNERNET)
    corner_net.load_state_dict(stock.state_dict())
    expected, got = step(stock), step(corner_net)
    # CornerNet divides by the number of objects plus 1e-4.
    assert got['focal_loss'] == pytest.approx(expected['det_loss'], rel=1e-5)
    assert got['regr_loss'] == pytest.approx(expected['off_loss'], rel=1e-3)
    assert got['pull_loss'] == pytest.approx(
        expected['pull_loss'] / 2, rel=1e-3)
    assert got['push_loss'] == pytest.approx(
        expected['push_loss'] / 2, rel=1e-3)
    assert min(got.values()) > 0
    for one, other in zip(predict(stock), predict(corner_net)):
        for key, value in one.pred_instances.items():
            assert torch.equal(value, other.pred_instances[key])


@pytest.mark.parametrize('num_items', [(1, 0), (0, 0)])
def test_images_without_objects(corner_net, num_items):
    losses = step(corner_net, num_items)
    assert all(math.isfinite(value) for value in losses.values())
    assert gradient_norm(corner_net.backbone) > 0
    assert losses['push_loss'] == 0
    assert (losses['regr_loss'] > 0) == any(num_items)


def test_composite_needs_embeddings():
    with pytest.raises(ValueError, match='corner_emb_channels=0'):
        CornerNetHead(num_classes=3, in_channels=8, corner_emb_channels=0)


@pytest.fixture(scope='module')
def faster_rcnn():
    """A Faster R-CNN with replaceable classifier and loss."""
    return build(FASTER_RCNN)


def with_classifier(detector, layer, loss='mmdet.CrossEntropyLoss', **kwargs):
    """Losses and gradient of a step with another classifier and loss."""
    head = detector.roi_head.bbox_head
    layer.weight.data = head.fc_cls.weight.data
    head.fc_cls = layer
    head.loss_cls = MODELS.build(dict(type=loss, **kwargs))
    losses = step(detector)
    return losses, gradient_norm(detector)


def test_cosine_linear_matches_stock_layer_without_bias(faster_rcnn):
    layer = mmdet.models.layers.NormedLinear
    # onedl-mmdetection corrects the spelling.
    scale, = [
        name for name in inspect.signature(layer).parameters
        if name in ('tempearture', 'temperature')
    ]
    stock = layer(*FC_CLS, bias=False, **{scale: 16})
    expected, expected_norm = with_classifier(faster_rcnn, stock)
    got, norm = with_classifier(faster_rcnn, CosineLinear(*FC_CLS, scale=16))
    assert got == pytest.approx(expected, rel=1e-4)
    assert norm == pytest.approx(expected_norm, rel=1e-3)


def test_weight_norm_linear_matches_unit_vectors(faster_rcnn):
    got, _ = with_classifier(faster_rcnn, WeightNormLinear(*FC_CLS))
    vectors = faster_rcnn.roi_head.bbox_head.fc_cls.weight.data
    vectors /= vectors.norm(dim=1, keepdim=True)
    expected, _ = with_classifier(faster_rcnn,
                                  torch.nn.Linear(*FC_CLS, bias=False))
    assert got == pytest.approx(expected, rel=1e-4)


def test_arcface_margin_in_the_detector(faster_rcnn):
    layer = CosineLinear(*FC_CLS, scale=16)
    plain, _ = with_classifier(faster_rcnn, layer)
    losses = [
        with_classifier(
            faster_rcnn,
            layer,
            'mmlosses.ArcFaceLogitLoss',
            scale=16.0,
            margin=margin)[0] for margin in (0.0, 0.5)
    ]
    assert losses[0] == pytest.approx(plain, rel=1e-5)
    assert losses[1]['loss_cls'] > plain['loss_cls'] + 0.1


@pytest.mark.slow
@pytest.mark.parametrize('name, scale', [('normface', 16.0),
                                         ('arcface_logit', 32.0),
                                         ('modified_softmax', None),
                                         ('normface', 1.0)])
def test_stock_softmax_scores_pass_the_threshold(name, scale):
    register_all_modules()
    model = Config.fromfile(str(OURS / f'faster-rcnn_{name}.py')).model
    cfg = model.roi_head.bbox_head
    cfg.fc_out_channels = FC_CLS[0]
    if scale is not None:
        cfg.cls_predictor_cfg.scale = scale
    torch.manual_seed(0)
    head = MODELS.build(cfg)
    # Features parallel to the vectors of three classes and of the background.
    vectors = head.fc_cls.weight.detach()
    features = 20 * torch.nn.functional.normalize(vectors[[7, 0, 79, 80]])
    roi = torch.tensor([[0., 10 * n, 10 * n, 10 * n + 9, 10 * n + 9]
                        for n in range(4)])
    found = head.predict_by_feat(
        rois=[roi],
        cls_scores=[head.fc_cls(features).detach()],
        bbox_preds=[torch.zeros(4, 4 * 80)],
        batch_img_metas=[dict(img_shape=(64, 64))],
        rcnn_test_cfg=model.test_cfg.rcnn)[0]
    if scale == 1.0:
        # Without a scale, no score passes the threshold.
        assert len(found) == 0
    else:
        assert sorted(found.labels.tolist()) == [0, 7, 79]
        assert found.scores.min() > 0.99


@pytest.mark.parametrize('layer', [WeightNormLinear, CosineLinear])
def test_classifier_under_autocast_and_at_zero_features(layer):
    torch.manual_seed(0)
    layer = layer(8, 3)
    assert list(layer.state_dict()) == ['weight']
    features = torch.randn(4, 8)
    features[0] = 0
    features.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        logits = layer(features)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, layer(features))
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(4) % 3)
    loss.backward()
    assert features.grad.isfinite().all()
    assert 0 < features.grad[0].abs().max() < 100
