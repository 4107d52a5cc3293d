"""What constructors and calls refuse."""
import inspect
import math
import re

import pytest
import torch
from cases import CASES
from helpers import needs_dynamo

from mmlosses import losses

# Arguments for which a negative number has a meaning.
MAY_BE_NEGATIVE = {
    'loss_weight', 'ignore_index', 'ignore_label', 'dim', 'pos_threshold',
    'FocalLoss.alpha', 'FocalCustomLoss.alpha', 'initial_log_var',
    'neg_pos_ub', 'pos_margin', 'neg_margin', 'shift_factor'
}
# What else an argument needs.
BESIDE = dict(initial_log_var=dict(weighting='uncertainty'))


def numeric_arguments(case):
    """Arguments that hold a number, or a list of numbers if ``several``."""
    for name, parameter in inspect.signature(case.loss).parameters.items():
        words = re.findall(r'\w+', str(parameter.annotation))
        if {'float', 'int'} & set(words) and 'Dict' not in words:
            yield name, 'Sequence' in words


NUMERIC = [
    pytest.param(case, name, several, id=f'{case.loss.__name__}-{name}')
    for case in CASES for name, several in numeric_arguments(case)
]


@pytest.mark.parametrize('case, name, several', NUMERIC)
def test_numbers_are_checked_at_construction(case, name, several):
    """The error names the argument."""
    values = [math.nan, math.inf, -math.inf, 'nothing']
    if not {name, f'{case.loss.__name__}.{name}'} & MAY_BE_NEGATIVE:
        values.append(-1)
    if several:
        values = [math.nan, 'nothing', *([1.0, value] for value in values)]
    for value in values:
        with pytest.raises((ValueError, TypeError), match=name):
            case.build(**{name: value}, **BESIDE.get(name, {}))
            pytest.fail(f'{name}={value!r} was accepted')


def test_weights_of_classes_are_checked_where_the_model_is_built():
    """On the meta device, as in large models, there are no values."""
    with torch.device('meta'):
        losses.CrossEntropyLoss(class_weight=[1.0, -1.0])
    with pytest.raises(ValueError, match=r'class_weight must .* -1\.'):
        losses.CrossEntropyLoss(class_weight=torch.tensor([1.0, -1.0]))


def test_alpha_for_each_class_is_named():
    with pytest.raises(TypeError, match=r'alpha .*\[0.25, 0.75\].*class_w'):
        losses.FocalLoss(use_sigmoid=False, alpha=[0.25, 0.75])


CE, KL = losses.CrossEntropyLoss, losses.KLDiscretLoss
# Loss, arguments, and values of the target that are legal and not.
TARGETS = [
    (losses.DiceLoss, {}, (0, 1), (255, -1, 1.5)),
    (losses.BalancedBCELoss, {}, (0, 1), (255, -1, 1.5)),
    (losses.GaussianFocalLoss, {}, (0, 1), (255, -1, 1.5)),
    (losses.GaussianFocalLoss, dict(use_sigmoid=True), (0, 1), (255, -1)),
    (losses.FocalLoss, {}, (0, 1), (255, -1, 2)),
    (losses.FocalLoss, dict(use_sigmoid=False), (0, 1, 2), (-1, )),
    (CE, {}, (0, 1, 2), (-0.1, )),
    # Negative ones are ignored, as in mmdet.
    (CE, dict(use_sigmoid=True), (0, 1, -1), (255, 1.5)),
    (losses.LabelSmoothLoss, {}, (0, 1), (-1, )),
    (losses.LabelSmoothLoss, dict(use_sigmoid=True), (0, 1), (2, -1)),
    (KL, dict(use_target_weight=None), (0, 2), (-1, )),
    (KL, dict(use_target_weight=None, label_softmax=True), (-1, 2), ()),
]
PREDICTIONS = [
    (losses.DiceLoss, dict(activate=False)),
    (losses.DiceLoss, dict(use_sigmoid=False)),
    (losses.BalancedBCELoss, dict(use_sigmoid=False)),
    (losses.GaussianFocalLoss, {}),
    (losses.FocalLoss, dict(activated=True)),
]


def inputs(cls, pred, target):
    """A prediction and a target, of which one number is given."""
    size = (2, 3, 4) if cls in (losses.FocalLoss, CE) else (2, 3, 4, 5)
    both = [torch.full(size, 0.5) for _ in range(2)]
    both[0][1, 2, 3], both[1][1, 2, 3] = pred, target
    if cls is not KL:
        return both
    return [(x, x.clone()) for x in [x.flatten(2) for x in both]]


@pytest.mark.parametrize('cls, kwargs, legal, wrong', TARGETS)
def test_targets_in_the_range_of_the_formula(cls, kwargs, legal, wrong):
    loss = cls(**kwargs)
    for value in legal:
        assert loss(*inputs(cls, 0.5, value)).isfinite()
    for value in wrong:
        with pytest.raises(ValueError, match=f'target must .* got {value}'):
            loss(*inputs(cls, 0.5, value))
        removed = torch.tensor([1.0, 0.0])
        assert loss(*inputs(cls, 0.5, value), removed).isfinite()
        # A NaN that is removed hides nothing.
        pred, target = inputs(cls, 0.5, value)
        for x in target if cls is KL else (target, ):
            x[0] = math.nan
        with pytest.raises(ValueError, match=f'target must .* got {value}'):
            loss(pred, target, 1 - removed)


@pytest.mark.parametrize('cls, kwargs', PREDICTIONS)
def test_predictions_that_must_be_probabilities(cls, kwargs):
    loss = cls(**kwargs)
    assert loss.takes_probabilities
    for value in (0, 1, 1 + 1e-4, -1e-4):  # rounding is no logit
        assert loss(*inputs(cls, value, 0.5)).isfinite()
    for value in (-3.0, 3.0):
        with pytest.raises(ValueError, match=f'pred must .* got {value}'):
            loss(*inputs(cls, value, 0.5))
        removed = torch.tensor([1.0, 0.0])
        assert loss(*inputs(cls, value, 0.5), removed).isfinite()
    # LossDoctorHook reports NaN.
    assert loss(*inputs(cls, math.nan, 0.5)).isnan()


@pytest.mark.parametrize('label', (-1, 4))
def test_labels_of_balanced_bce_are_in_range(label):
    """With three classes, 3 is the background."""
    loss, labels = losses.BalancedBCELoss(), torch.tensor([0, 3, label])
    assert loss(torch.zeros(2, 3), labels[:2]).isfinite()
    with pytest.raises(ValueError, match=f'from 0 to 3, got {label}'):
        loss(torch.zeros(3, 3), labels)
    weight = torch.tensor([1.0, 1.0, 0.0])
    assert loss(torch.zeros(3, 3), labels, weight).isfinite()


def test_nothing_is_checked_where_it_would_not_be_free():
    """Under torch.func a tensor stands for many, under meta for none."""
    pred, target = inputs(losses.DiceLoss, 0.5, 255)
    loss = losses.DiceLoss(reduction='none')
    assert torch.func.vmap(loss)(pred[None], target[None]).shape == (1, 2)
    assert loss(pred.to('meta'), target.to('meta')).device.type == 'meta'


def test_dtype_follows_the_prediction():
    """A mask of True and False is one of 1 and 0."""
    pred, target = torch.rand(3, 4), torch.rand(3, 4) > 0.5
    for loss in (losses.L1Loss(), losses.MSELoss(), losses.SmoothL1Loss(),
                 losses.BalancedL1Loss()):
        got = loss(pred, target)
        assert got.dtype == torch.float32
        assert got == loss(pred, target.float()) == loss(pred, target.double())


@pytest.mark.parametrize('cls, name', [
    (losses.FocalLoss, 'loss_focal_loss'),
    (losses.GIoULoss, 'loss_giou_loss'),
    (losses.SmoothL1Loss, 'loss_smooth_l1_loss'),
    (losses.KLDiscretLoss, 'loss_kl_discret_loss'),
])
def test_the_name_in_the_log_is_that_of_the_class(cls, name):
    assert cls().loss_name == name
    with pytest.raises(TypeError, match='loss_name'):
        cls(loss_name=3)


@pytest.mark.parametrize('wrong', [
    lambda: losses.DiceLoss(True, True, 'mean'),
    lambda: losses.FocalLoss(True, 2.0, 0.25, 'sum'),
    lambda: losses.L1Loss('mean', True, 2.0),
])
def test_stock_positions_with_another_meaning(wrong):
    """A reduction is no flag, and a flag is no weight."""
    with pytest.raises(TypeError, match=r"got '(mean|sum)'|got bool True"):
        wrong()


def test_stock_names_in_a_call():
    """Of mmdet's classification, mmpose and SimCC; hooks see ours."""
    scores, labels = torch.randn(5, 3), torch.randint(3, (5, ))
    loss = CE()
    expected = loss(scores, labels)
    assert loss(cls_score=scores, label=labels) == expected
    assert loss(scores, label=labels) == expected
    seen = []
    hook = loss.register_forward_pre_hook(
        lambda module, args, kwargs: seen.extend(kwargs), with_kwargs=True)
    loss(cls_score=scores, label=labels, weight=torch.ones(5))
    hook.remove()
    assert seen == ['pred', 'target', 'weight']
    assert losses.L1Loss()(output=scores, target=scores) == 0
    bins = (scores[None], scores[None])
    loss = losses.KLDiscretLoss(label_softmax=True, use_target_weight=None)
    assert loss(pred_simcc=bins, gt_simcc=bins) == loss(bins, bins)
    with pytest.raises(TypeError, match='target'):
        CE()(scores, labels, label=labels)
    with pytest.raises(TypeError, match='nonsense'):
        CE()(scores, labels, nonsense=labels)


def test_stock_names_in_a_compiled_call():
    needs_dynamo()
    scores, labels = torch.randn(5, 3), torch.randint(3, (5, ))
    compiled = torch.compile(CE(), backend='eager', fullgraph=True)
    torch.testing.assert_close(
        compiled(cls_score=scores, label=labels),
        CE()(scores, labels))


def test_order_of_reduction_and_factor_in_dice():
    """A word is the reduction, wherever it is."""
    pred, masks = torch.randn(3, 8), torch.ones(3, 8)
    loss, weight = losses.DiceLoss(), torch.tensor([1.0, 2.0, 3.0])
    elements = loss(pred, masks, weight, None, 'none')
    for order in (('none', ), ('none', None), ('none', 7.0), (7.0, 'none')):
        assert torch.equal(loss(pred, masks, weight, *order), elements)
    for order in (('mean', 7.0), (7.0, 'mean'), (None, 7.0), (7.0, )):
        torch.testing.assert_close(
            loss(pred, masks, weight, *order),
            elements.sum() / 7)
