"""The rows of the benchmark; the others are made of tests/cases."""
from __future__ import annotations
import functools
import math
import sys
from typing import Any, Dict, Iterator, List

import torch.nn.functional as F
from pages import ROOT
from torch import Tensor, nn

from . import inputs
from . import peers as formulas
from . import rotated
from .heads import HEAD_ROWS
from .row import Case, Function, Late, Row, default_row, find, stock

# The public names of peers that are no package.
TUTORIAL, PLAIN = 'published tutorial code', 'plain PyTorch'

FEW = dict(samples=8, channels=4, classes=5)
HEATMAPS = '64 x 17 x 64 x 48'
BCE: Dict[str, Any] = dict(
    limit='BCE with logits', limit_of=F.binary_cross_entropy_with_logits)


def tutorial(function: Function | Late) -> Dict[str, Any]:
    """Published code as the only peer."""
    return {TUTORIAL: function}


def with_parameters(function: Function, *names: str) -> Late:
    """A formula that also takes the class vectors or centres of our loss."""

    def build(loss: Any, *args: Any) -> Function:
        tensors = [inputs.leaf(getattr(loss, name)) for name in names]
        return functools.partial(append, function, tensors)

    return Late(build)


def append(function: Function, tensors: List[Tensor], *args: Any) -> Any:
    """Call a function with further arguments."""
    return function(*args, *tensors)


def metric_learning(name: str, **kwargs: float) -> Dict[str, Late]:
    """A loss of pytorch-metric-learning with our class vectors."""

    def build(loss: Any, *args: Any) -> Function | None:
        cls = find(f'pytorch_metric_learning.losses.{name}')
        if cls is None:
            return None
        classes, channels = loss.weight.shape
        peer = cls(num_classes=classes, embedding_size=channels, **kwargs)
        peer.W.data.copy_(loss.weight.detach().T)
        return peer

    return {'pytorch-metric-learning': Late(build)}


def heatmap_focal(loss: Any, *args: Any) -> Function | None:
    """The stock loss with the sigmoid of the heads of mmdet."""
    peer = stock('mmdet').build(loss)
    return peer and (lambda logits, target: peer(
        logits.sigmoid().clamp(1e-4, 1 - 1e-4), target))


def propel(loss: Any, *args: Any) -> Function | None:
    """Torchpropel."""
    cls = find('torchpropel.PROPEL')
    return cls and cls()


def one_hot_bce(loss: Any, pred: Tensor, labels: Tensor) -> Function:
    """The BCE of labels that are one-hot already."""
    target = F.one_hot(labels, pred.shape[1] + 1)[:, :-1].float()
    return lambda pred, _: F.binary_cross_entropy_with_logits(pred, target)


def long_tail(loss: str, others: int) -> Row:
    """A loss of scores of LVIS, some of them for the background."""

    def build(loss: Any, *args: Any) -> Function | None:
        cls = find(f'mmdet.models.losses.{type(loss).__name__}')
        return cls and cls(num_classes=loss.num_classes)

    return Row(
        loss,
        inputs.lvis_scores,
        '1024 x 1203',
        dict(samples=8, classes=5),
        dict(mmdet=Late(build)),
        lambda samples, classes, others: dict(num_classes=classes),
        dict(others=others),
        differs='each call moves the weights of the classes')


def metric(loss: str,
           peers: Dict[str, Any],
           samples: int = 256,
           classes: int = 10_000,
           **settings: Any) -> Row:
    """A loss of features with class vectors, or with centres that learn by
    the gradient, as those of the peers."""
    extra = dict(learn_centers=True) if loss.startswith('Center') else {}
    return Row(
        loss, inputs.labelled_features,
        f'{samples} x 512, {classes:,} classes', FEW, peers,
        lambda samples, channels, classes: dict(
            num_classes=classes, in_channels=channels, **extra),
        dict(samples=samples, classes=classes), **settings)


def boxes(loss: str, plain: Function | None = None, **settings: Any) -> Row:
    """A loss of boxes, beside the stock class or the formula."""
    return default_row(
        Case(loss, inputs.box_pairs),
        '' if plain else f'mmdet.{loss}',
        20_000,
        settings.pop('peers', {PLAIN: plain} if plain else {}),
        size='20,000 boxes',
        small=dict(batch=7),
        call=nn.Module.eval,  # the formulas have no running mean
        goal=0.8,
        **settings)


def turned(loss: str,
           plain: Function,
           pairs: Function = inputs.rotated_pairs,
           batch: int = 20_000,
           size: str = 'boxes',
           kwargs: Dict[str, Any] | None = None,
           **settings: Any) -> Row:
    """A loss of rotated boxes or sets of points, beside the formula."""
    return default_row(
        Case(loss, pairs, kwargs or {}),
        batch=batch,
        peers={PLAIN: plain},
        size=f'{batch:,} {size}',
        small=dict(batch=7),
        **settings)


def numbers(loss: str, function: Function) -> Row:
    """A distance of heatmaps."""
    return default_row(
        Case(loss, inputs.heatmap_pair),
        f'mmdet.{loss}',
        64,
        dict(torch=function),
        size=HEATMAPS,
        goal=1.3)


def keypoint_maps(loss: str, maps: int = 1) -> Row:
    """A loss of mmpose's heatmaps, with weights of the keypoints."""
    size = HEATMAPS if maps == 1 else f'{HEATMAPS} x {maps}'
    return Row(
        loss,
        inputs.keypoint_maps,
        size,
        dict(batch=2, height=4, width=3),
        dict(
            mmpose=stock(
                f'mmpose.heatmap_loss.{loss}', use_target_weight=True)),
        sizes=dict(maps=maps))


def mean_of_mmpose(loss: Any, *args: Any) -> Function | None:
    """The stock loss, with the mean that mmengine takes of it."""
    peer = stock('mmpose', use_target_weight=True).build(loss)
    return peer and (lambda *args: peer(*args).mean())


def twin(scope: str, **kwargs: Any) -> Late:
    """A stock class of our name, with our parameters."""

    def build(loss: Any, *args: Any) -> Function | None:
        peer = stock(scope, **kwargs).build(loss)
        if isinstance(peer, nn.Module):
            peer.load_state_dict(loss.state_dict())
        return peer

    return Late(build)


def copying(loss: Any, *args: Any) -> Function | None:
    """The stock loss, on copies of what it writes to."""
    cls = find(f'mmdet.models.losses.{type(loss).__name__}')
    peer = cls and cls(neg_pos_ub=3, neg_margin=0.1, hard_mining=True)
    return peer and (lambda pred, target: peer(pred.clone(), target.clone()))


def both_losses(loss: Any, *args: Any) -> Function | None:
    """The stock wrapper with the stock losses."""
    cls = find('mmpose.models.losses.MultipleLossWrapper')
    return cls and cls(
        [dict(type='mmpose.L1Loss'),
         dict(type='mmpose.MSELoss')])


def semi_supervision(loss: Any, *args: Any) -> Function | None:
    """The stock loss, with the axes that it otherwise adds in place."""
    cls = find('mmpose.models.losses.SemiSupervisionLoss')
    peer = cls and cls(loss.joint_parents)
    return peer and (lambda output, target: peer(
        output, dict(target, intrinsics=target['intrinsics'].clone())))


def label_maps(loss: str,
               peers: Dict[str, Any],
               classes: int = 19,
               **settings: Any) -> Row:
    """A loss of label maps."""
    return Row(
        loss,
        inputs.label_maps,
        f'2 x {classes} x 512 x 512, labels',
        dict(side=16),
        peers,
        sizes=dict(classes=classes),
        **settings)


def of_a_copy(loss: Any, *args: Any) -> Function | None:
    """The stock loss of mmpretrain, which writes to what it is given."""
    peer = stock('mmpretrain').build(loss)
    return peer and (lambda matrix: peer(matrix.clone()))


VIEWS: Dict[str, Any] = dict(
    feat_dim=128, num_crops=[2, 6], num_prototypes=3000)
FEATURES = dict(
    name='fea', use_this=True, student_channels=256, teacher_channels=256)

#: Losses without a row, and why.
WITHOUT_ROW = dict(
    CombinedLoss='only its parts are called',
    RotatedIoU3DLoss='mmdet3d is not installed here',
    MultiBinLoss='mmdet3d is not installed here',
    PAConvRegularizationLoss='it has no prediction')

POINTS: Any = inputs.points_and_corners, 2_000, 'sets of 9 points'

ROWS = [
    keypoint_maps('KeypointMSELoss'),
    keypoint_maps('KeypointOHKMMSELoss'),
    keypoint_maps('CombinedTargetMSELoss', 3),
    keypoint_maps('AdaptiveWingLoss'),
    keypoint_maps('FocalHeatmapLoss'),
    Row('MLECCLoss', inputs.likelihoods, '64 x 17 x (192 + 256)',
        dict(images=2, keypoints=3, size=12),
        dict(mmpose=Late(mean_of_mmpose))),
    Row('KLDiscretLoss',
        inputs.bins,
        '64 x 17 x (384 + 512)',
        dict(images=2, keypoints=3, bins=12),
        dict(mmpose=stock('mmpose')),
        dict(size_average=False),
        goal=0.5,
        limit='cross entropy with probabilities',
        limit_of=formulas.axes_cross_entropy,
        grows=dict(keypoints=(4, 17, 68, 133, 266))),
    Row('JSDiscretLoss', inputs.heatmap_distributions, '64 x 17 x 64 x 64',
        dict(images=2, keypoints=3, side=8), dict(mmpose=stock('mmpose'))),
    Row('KDLoss', inputs.student_and_teacher, '64 x 17 x (384 + 512)',
        dict(images=2, keypoints=3, bins=12),
        dict(mmpose=stock('mmpose', name='loss_logit', use_this=True))),
    Row('FeaLoss', inputs.feature_maps, '32 x 256 x 32 x 24',
        dict(images=2, side=3), dict(mmpose=twin('mmpose', **FEATURES)),
        FEATURES),
    Row('ChannelWiseDivergence', inputs.feature_maps, '32 x 256 x 32 x 24',
        dict(images=2, side=4), {PLAIN: formulas.plain_channel_kl}),
    Row('ChamferDistance',
        inputs.point_sets,
        '8 x 1024 and 8 x 256 points',
        dict(samples=2, sources=5, targets=4), {PLAIN: formulas.plain_chamfer},
        call=lambda loss: lambda *args: sum(loss(*args)),
        goal=1.0,
        grows=dict(targets=(16, 64, 256, 1024))),
    Row('CrossCorrelationLoss', inputs.correlations, '2048 x 2048',
        dict(features=5), dict(mmpretrain=Late(of_a_copy))),
    Row('CAELoss', inputs.masked_tokens, '16 x 75 patches, 8192 tokens',
        dict(images=2, patches=3, tokens=5, channels=4),
        dict(mmpretrain=stock('mmpretrain', lambd=2)), dict(lambd=2)),
    Row('SwAVLoss', inputs.views_of_images, '8 views of 64 x 128',
        dict(images=2), dict(mmpretrain=twin('mmpretrain', **VIEWS)), VIEWS),
    Row('InfoNCELoss', inputs.instances, '256 x 128', dict(samples=4),
        dict(mmpose=stock('mmpose.classification_loss.InfoNCELoss'))),
    Row('OKSLoss', inputs.people, '1024 x 17', dict(people=3),
        dict(mmpose=stock('mmpose'))),
    Row('OksLoss', inputs.people_in_boxes, '1024 x 17', dict(count=3),
        {PLAIN: formulas.plain_oks}),
    Row('RLELoss', inputs.keypoint_gaussians, '1024 x 17 x 2', dict(images=2),
        dict(mmpose=twin('mmpose'))),
    *[
        Row(name, inputs.uncertain_numbers, '100,000 numbers', dict(count=9),
            {PLAIN: formula})
        for name, formula in (('UncertainL1Loss', formulas.plain_uncertain_l1),
                              ('UncertainSmoothL1Loss',
                               formulas.plain_uncertain_smooth_l1))
    ],
    Row('TripletLoss', inputs.identities, '256 x 128, 64 identities',
        dict(samples=8, channels=4), dict(mmdet=stock('mmdet'))),
    Row('FocalLoss',
        inputs.detections,
        '20,000 x 80, labels',
        dict(boxes=9, classes=4),
        dict(mmdet=stock('mmdet')),
        goal=0.5,
        limit='BCE with logits',
        limit_of=Late(one_hot_bce),
        grows=dict(classes=(10, 40, 160, 640, 1280))),
    Row('GaussianFocalLoss',
        inputs.heatmaps,
        '4 x 80 x 128 x 128, logits',
        dict(images=2, classes=3, side=12),
        dict(mmdet=Late(heatmap_focal)),
        dict(use_sigmoid=True),
        goal=0.5,
        **BCE),
    Row('AssociativeEmbeddingLoss',
        inputs.tags,
        '8 images, 30 objects',
        dict(images=2, objects=3, side=8),
        dict(mmdet=stock('mmdet')),
        goal=0.1,
        grows=dict(objects=(4, 15, 60, 120, 240))),
    boxes('IoULoss'),
    boxes('GIoULoss', grows=dict(batch=(500, 2_000, 20_000, 80_000, 200_000))),
    boxes('DIoULoss'),
    boxes('CIoULoss'),
    boxes('SIoULoss', peers=dict(mmdet=stock('mmdet', neg_gamma=True))),
    boxes('EIoULoss', formulas.plain_eiou),
    boxes('AlphaIoULoss', formulas.plain_alpha_iou),
    boxes('InnerIoULoss', formulas.plain_inner_iou),
    boxes('MPDIoULoss', formulas.plain_mpdiou),
    boxes('NWDLoss', formulas.plain_nwd),
    boxes('ShapeIoULoss', formulas.plain_shape_iou),
    boxes('WIoULoss', formulas.plain_wiou),
    Row('AxisAlignedIoULoss',
        inputs.box_pairs_3d,
        '20,000 boxes',
        dict(batch=7), {PLAIN: formulas.plain_axis_aligned_iou},
        goal=0.8),
    turned('RotatedIoULoss', rotated.plain_rotated_iou),
    turned('RotatedGIoULoss', rotated.plain_rotated_giou),
    turned('RotatedDIoULoss', rotated.plain_rotated_diou),
    turned('RotatedCIoULoss', rotated.plain_rotated_ciou),
    turned('GDLoss', rotated.plain_gwd, kwargs=dict(loss_type='gwd')),
    turned(
        'GDLoss',
        rotated.plain_kld,
        kwargs=dict(loss_type='kld'),
        name='GDLoss, KLD'),
    turned('GDLoss_v1', rotated.plain_bcd, kwargs=dict(loss_type='bcd')),
    turned('ProbIoULoss', rotated.plain_prob_iou),
    Row('KFLoss', inputs.deltas_and_boxes, '20,000 boxes', dict(batch=7),
        {PLAIN: rotated.plain_kf}),
    turned('H2RBoxConsistencyLoss', rotated.consistency(formulas.plain_iou)),
    turned('ConvexGIoULoss', rotated.plain_convex_giou, *POINTS),
    turned('BCConvexGIoULoss', rotated.plain_bc_convex_giou, *POINTS),
    turned('SpatialBorderLoss', rotated.plain_spatial_border, *POINTS),
    turned('SmoothFocalLoss', rotated.plain_smooth_focal, inputs.soft_bins,
           20_000, 'x 180'),
    Row('DiceLoss',
        inputs.object_masks,
        '64 x 112 x 112',
        dict(objects=3, side=12),
        dict(mmdet=stock('mmdet')),
        goal=0.9,
        **BCE),
    Row('LabelSmoothLoss',
        inputs.scores,
        '4096 x 1000',
        dict(samples=8, classes=5),
        dict(torch=formulas.torch_label_smooth),
        goal=1.2,
        limit='cross entropy',
        limit_of=F.cross_entropy),
    numbers('L1Loss', F.l1_loss),
    numbers('MSELoss', F.mse_loss),
    numbers('SmoothL1Loss', F.smooth_l1_loss),
    default_row(
        Case(
            'SumLoss', inputs.heatmap_pair,
            dict(losses=[
                dict(type='mmlosses.L1Loss'),
                dict(type='mmlosses.MSELoss')
            ])),
        batch=64,
        size=f'{HEATMAPS}, L1 and MSE',
        peers=dict(torch=lambda pred, target:
                   (F.l1_loss(pred, target) + F.mse_loss(pred, target)))),
    Row('BalancedBCELoss',
        inputs.text_masks,
        '16 x 1 x 640 x 640',
        dict(images=2, side=24),
        tutorial(formulas.tutorial_balanced_bce),
        goal=0.5,
        **BCE),
    Row('PROPELLoss',
        inputs.mixtures,
        '4096 x 10 x 6',
        dict(samples=5, gaussians=3),
        dict(torchpropel=Late(propel)),
        dict(compat='torchpropel'),
        goal=0.5,
        grows=dict(gaussians=(2, 5, 10, 20, 40))),
    Row('CCSLoss',
        inputs.anchors,
        '8 x 20,000 x 256, anchors',
        dict(images=2, anchors=40, channels=4, objects=3, classes=5),
        tutorial(formulas.tutorial_ccs),
        name='CCSLoss.forward_anchors',
        call=lambda loss: loss.forward_anchors,
        goal=1.0),
    metric(
        'CenterLoss',
        {f'{PLAIN}, B x C': with_parameters(formulas.plain_center, 'centers')},
        512,
        goal=0.1),
    metric(
        'ArcFaceLoss',
        metric_learning('ArcFaceLoss', scale=32, margin=math.degrees(0.5)),
        classes=100_000,
        goal=0.7,
        grows=dict(classes=(100, 1_000, 5_000, 20_000))),
    Row('CrossEntropyLoss', inputs.scores, '4096 x 1000',
        dict(samples=8, classes=5),
        dict(torch=F.cross_entropy, mmdet=stock('mmdet'))),
    metric(
        'NormFaceLoss', {
            **tutorial(with_parameters(formulas.tutorial_normface, 'weight')),
            **metric_learning('NormalizedSoftmaxLoss', temperature=1 / 16)
        }),
    metric(
        'ModifiedSoftmaxLoss',
        tutorial(
            with_parameters(formulas.tutorial_modified_softmax, 'weight'))),
    Row('ArcFaceLogitLoss',
        inputs.cosines,
        '512 x 1231',
        dict(samples=8, classes=5),
        tutorial(formulas.tutorial_arcface_logits),
        call=lambda loss: lambda cosine, labels: loss(32 * cosine, labels)),
    metric(
        'CenterSoftmaxLoss',
        tutorial(
            with_parameters(formulas.tutorial_center_softmax, 'centers',
                            'weight')),
        512,
        differs='the distance is not squared'),
    Row('GHMC', inputs.weighted_detections, '20,000 x 80',
        dict(boxes=7, classes=3), dict(mmdet=stock('mmdet.GHMC'))),
    Row('GHMR', inputs.weighted_deltas, '20,000 x 4', dict(boxes=7),
        dict(mmdet=stock('mmdet.GHMR'))),
    long_tail('SeesawLoss', 2),
    long_tail('EQLV2Loss', 1),
    Row('MarginL2Loss', inputs.similarities, '256 x 1024',
        dict(samples=4, others=9), dict(mmdet=Late(copying)),
        dict(neg_pos_ub=3, neg_margin=0.1, hard_mining=True)),
    Row(
        'MultipleLossWrapper', inputs.two_pairs, f'{HEATMAPS}, L1 and MSE',
        dict(batch=2), dict(mmpose=Late(both_losses)),
        dict(losses=[
            dict(type='mmlosses.L1Loss'),
            dict(type='mmlosses.MSELoss')
        ])),
    Row('SemiSupervisionLoss', inputs.unlabelled_poses, '4096 x 17 x 3',
        dict(samples=3), dict(mmpose=Late(semi_supervision)),
        dict(joint_parents=inputs.PARENTS)),
    Row('CCSLoss', inputs.embeddings, '20,000 x 256', FEW,
        dict(torch=formulas.plain_ccs)),
    Row('QualityFocalLoss', inputs.rated_detections,
        '20,000 x 80, labels and qualities', dict(boxes=9, classes=4),
        dict(mmdet=stock('mmdet'))),
    label_maps(
        'LovaszLoss',
        dict(mmseg=stock('mmseg', reduction='none')),
        goal=0.2,
        grows=dict(classes=(2, 5, 19, 40))),
    label_maps('TverskyLoss', dict(mmseg=stock('mmseg'))),
    label_maps('OhemCrossEntropy', dict(mmseg=stock('mmseg'))),
    label_maps('HausdorffDistanceLoss',
               dict(mmseg=stock('mmseg.HuasdorffDisstanceLoss')), 2),
    label_maps('ClDiceLoss', {PLAIN: formulas.plain_cl_dice}, 2),
    Row('BoundaryLoss', inputs.edge_maps, '6 x 1 x 512 x 512, edges',
        dict(images=2, side=16), dict(mmseg=stock('mmseg'))),
    Row('SiLogLoss', inputs.depth_maps, '8 x 1 x 480 x 640',
        dict(images=2, height=8, width=9), dict(mmseg=stock('mmseg'))),
    Row('KLDivLoss', inputs.two_scores, '4096 x 1000',
        dict(samples=8, classes=5), {PLAIN: formulas.plain_kl}),
    Row('AngularLoss', inputs.angles, '16 x 128 x 128 x 2',
        dict(images=2, height=3, width=4),
        tutorial(formulas.tutorial_angular)),
    Row('KeypointPROPELLoss', inputs.keypoint_gaussians, '1024 x 17 x 2',
        dict(images=2), tutorial(formulas.tutorial_propel)),
    Row('CornerNetLoss', inputs.corners, '2 x 80 x 128 x 128, 30 objects',
        dict(images=2, classes=3, side=12, objects=4),
        tutorial(formulas.tutorial_cornernet)),
]


def rows_of_cases() -> Iterator[Row]:
    """The losses of tests/cases without a row above, beside their stock."""
    sys.path.append(str(ROOT / 'tests'))
    from cases import CASES

    from mmlosses.testing import Stock
    sys.path.pop()
    for case in CASES:
        name = case.loss.__name__
        if name not in WITHOUT_ROW and name not in {row.loss for row in ROWS}:
            # Of mmpose where the case has none, since its weights differ.
            first = case.stock[0] if case.stock else Stock(
                f'mmpose.{name}', case.kwargs)
            scope = first.name.partition('.')[0]
            options = dict(first.kwargs)
            if 'use_target_weight' in options:
                options['use_target_weight'] = False  # there is none
            yield default_row(
                Case(case.loss, case.inputs, {
                    **case.kwargs,
                    **first.ours
                }),
                peers={scope: stock(first.name, **options)})


ROWS += [*rows_of_cases(), *HEAD_ROWS]
