"""Defaults and attributes of the losses."""
import inspect

import pytest
from cases import CASES

# From the papers and stock, in addition to the common arguments.
DEFAULTS = dict(
    AlphaIoULoss=dict(alpha=3.0, mode='iou'),
    AngularLoss=dict(delta=0.2, dim=-1, period='full'),
    ArcFaceLogitLoss=dict(
        scale=32.0, margin=0.5, boundary='keep', background=True),
    ArcFaceLoss=dict(scale=32.0, margin=0.5, boundary='keep'),
    AssociativeEmbeddingLoss=dict(
        pull_weight=0.25, push_weight=0.25, margin=1.0),
    BalancedBCELoss=dict(
        use_sigmoid=True,
        negative_ratio=3.0,
        fallback='all',
        per_image=False,
        pos_threshold=0.5),
    CCSLoss=dict(soft=False, detach_weight=True),
    CenterLoss=dict(alpha=0.5, learn_centers=False),
    CenterSoftmaxLoss=dict(center_weight=0.2),
    CornerNetLoss=dict(pull_weight=1.0, push_weight=1.0, regr_weight=1.0),
    CrossEntropyLoss=dict(
        use_sigmoid=False,
        use_mask=False,
        class_weight=None,
        ignore_index=-100,
        avg_non_ignore=False),
    DiceLoss=dict(
        use_sigmoid=True,
        activate=True,
        naive_dice=False,
        eps=1e-3,
        batch=False),
    EIoULoss=dict(focal_gamma=None),
    EQLV2Loss=dict(
        use_sigmoid=True,
        num_classes=1203,
        mu=0.8,
        alpha=4.0,
        gamma=12,
        test_with_obj=True,
        class_weight=None),
    FocalLoss=dict(
        use_sigmoid=True,
        gamma=2.0,
        alpha=0.25,
        activated=False,
        class_weight=None,
        ignore_index=None),
    GHMC=dict(bins=10, momentum=0, use_sigmoid=True),
    GHMR=dict(mu=0.02, bins=10, momentum=0),
    GaussianFocalLoss=dict(
        alpha=2.0,
        gamma=4.0,
        use_sigmoid=False,
        pos_weight=1.0,
        neg_weight=1.0),
    InnerIoULoss=dict(ratio=0.7, mode='iou'),
    IoULoss=dict(mode='log'),
    KLDiscretLoss=dict(
        beta=1.0,
        label_softmax=False,
        label_beta=10.0,
        use_target_weight=True,
        mask=None,
        mask_weight=1.0,
        size_average=True,
        bin_reduction='mean',
        normalize_target=False),
    KeypointPROPELLoss=dict(sigma=0.1, scale='std', compat=None),
    LabelSmoothLoss=dict(smoothing=0.1, distribute='others'),
    MPDIoULoss=dict(img_shape=None),
    NWDLoss=dict(constant=12.8),
    NormFaceLoss=dict(scale=16.0),
    PROPELLoss=dict(sigma=0.1, scale='std', compat=None),
    SIoULoss=dict(theta=4.0),
    SeesawLoss=dict(
        use_sigmoid=False,
        p=0.8,
        q=2.0,
        num_classes=1203,
        eps=1e-2,
        return_dict=True),
    ShapeIoULoss=dict(scale=0.0),
    SmoothL1Loss=dict(beta=1.0),
    WIoULoss=dict(version=3),
)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.loss.__name__)
def test_defaults(case):
    signature = inspect.signature(case.loss).parameters
    expected = DEFAULTS.get(case.loss.__name__, {})
    got = {name: signature[name].default for name in expected}
    assert got == expected


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.loss.__name__)
def test_arguments_are_attributes(case):
    """Heads read them, and they appear in the repr."""
    loss = case.build()
    names = {'reduction', 'loss_weight', 'use_sigmoid', 'use_target_weight'}
    for name in names & set(inspect.signature(case.loss).parameters):
        default = inspect.signature(case.loss).parameters[name].default
        assert getattr(loss, name) == case.kwargs.get(name, default), name
