"""SumLoss: the sum, its attributes, its log, its learned weights; wrappers."""
import copy
import dataclasses
import gc
import math
import pickle

import pytest
import torch
from cases.composite import CASES
from cases.inputs import CLASS_WEIGHT, CLASSES, certain, labelled
from helpers import needs_dynamo
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope, Registry
from ranks import needs_ranks, run_ranks
from test_host_sync import DEVICE, HostSync, no_host_sync
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mmlosses import losses
from mmlosses.checks.configs import loss_configs
from mmlosses.checks.watch import loss_modules, slot_of
from mmlosses.core.device_history import MOST_WAITING, DeviceHistory
from mmlosses.losses import CombinedLoss, MultipleLossWrapper, SumLoss
from mmlosses.registry import MODELS
from mmlosses.testing import CONTRACT

CASE = next(case for case in CASES if case.loss is SumLoss)
L1 = dict(type='mmlosses.L1Loss')
MSE = dict(type='mmlosses.MSELoss')
GIOU = dict(type='mmlosses.GIoULoss', loss_weight=2.0)
CE = dict(type='mmlosses.CrossEntropyLoss')
FOCAL = dict(type='mmlosses.FocalLoss')

KINDS = dict(
    labels=dataclasses.replace(
        CASE,
        inputs=labelled,
        element_shape=lambda batch: (batch, ),
        kwargs=dict(losses=[
            CE,
            dict(
                type='mmlosses.LabelSmoothLoss', smoothing=0, loss_weight=0.5)
        ]),
        arguments=dict(
            losses=({}, dict(losses=[CE])),
            weighting=CASE.arguments['weighting'],
            use_sigmoid=({}, dict(use_sigmoid=True)),
            class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
            ignore_index=({}, dict(ignore_index=1))),
        refused=dict(log_name='', initial_log_var=1.0),
        stock_kwargs=[dict(use_sigmoid=True, loss_weight=2.0)],
        perfect=certain),
    uncertainty=dataclasses.replace(
        CASE,
        kwargs=dict(CASE.kwargs, weighting='uncertainty'),
        arguments=dict(
            losses=CASE.arguments['losses'],
            weighting=({}, dict(weighting=None)),
            initial_log_var=({}, dict(initial_log_var=[1.0, 2.0]))),
        parameters=['log_vars'],
        refused={
            name: CASE.refused[name]
            for name in CASE.refused if name != 'initial_log_var'
        }))
# Regression losses take a weight only if they can.
LEFT_OUT = dict(labels=('target_weight', ), uncertainty=())


@pytest.mark.slow
@pytest.mark.parametrize('kind, name',
                         [(kind, name) for kind in KINDS
                          for name in CONTRACT if name not in LEFT_OUT[kind]])
def test_contract_of_other_kinds(kind, name):
    if name == 'compiles':
        needs_dynamo(SumLoss)
    CONTRACT[name](KINDS[kind])


@pytest.fixture
def hub():
    """The message hub of a training."""
    before = dict(MessageHub._instance_dict)
    hub = MessageHub.get_instance('test_composite')
    hub.update_info('iter', 0)
    yield hub
    MessageHub._instance_dict.clear()
    MessageHub._instance_dict.update(before)


def boxes(count=5, seed=0):
    """Boxes that overlap their targets, and per-coordinate weights."""
    torch.manual_seed(seed)
    corners = 10 * torch.rand(count, 2)
    target = torch.cat([corners, corners + 5 + torch.rand(count, 2)], 1)
    pred = (target + 0.5 * torch.randn(count, 4)).requires_grad_()
    return pred, target, torch.rand(count, 1).expand(count, 4)


@pytest.mark.parametrize('args, kwargs', [
    ((), {}),
    (('weight', ), dict(avg_factor=7.0)),
    (('weight', ), dict(avg_factor=7.0, reduction_override=None)),
    ((), dict(target_weight='weight')),
])
def test_value_is_the_sum(args, kwargs):
    pred, target, weight = boxes()
    args = [weight for _ in args]
    kwargs = {k: weight if v == 'weight' else v for k, v in kwargs.items()}
    one, other = losses.L1Loss(), losses.GIoULoss(loss_weight=2.0)
    loss = SumLoss([L1, GIOU], loss_weight=0.5)
    got = loss(pred, target, *args, **kwargs)
    terms = [each(pred, target, *args, **kwargs) for each in (one, other)]
    torch.testing.assert_close(got, 0.5 * (terms[0] + terms[1]))
    assert list(loss.parts) == ['L1Loss', 'GIoULoss']
    for part, term in zip(loss.parts.values(), terms):
        assert not part.requires_grad
        torch.testing.assert_close(part, 0.5 * term.detach())
    gradient, = torch.autograd.grad(got, pred)
    expected, = torch.autograd.grad(0.5 * sum(terms), pred)
    torch.testing.assert_close(gradient, expected)


def test_parts_do_not_share_memory_with_the_loss():
    """Multi-stage heads add to loss values in place."""
    pred, target, _ = boxes()
    loss = SumLoss([L1])
    got = loss(pred, target)
    got += 1
    torch.testing.assert_close(loss.parts['L1Loss'] + 1, got.detach())


def test_unique_names_and_nesting():
    inner = dict(type=SumLoss, losses=[MSE, GIOU])
    loss = SumLoss([L1, dict(type=losses.L1Loss), L1, inner])
    assert loss.names == ['L1Loss', 'L1Loss_2', 'L1Loss_3', 'SumLoss']
    pred, target, _ = boxes()
    expected = (3 * losses.L1Loss()(pred, target) +
                losses.MSELoss()(pred, target) +
                losses.GIoULoss(loss_weight=2.0)(pred, target))
    torch.testing.assert_close(loss(pred, target), expected)


def test_other_calls_of_heads():
    """RLEHead's call, SimCC's tuples, `ignore_index` and `pos_inds`."""
    mu, target = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    sigma, weight = torch.rand(3, 4, 2), torch.rand(3, 4, 1)
    rle = dict(type='mmlosses.KeypointPROPELLoss')
    one = losses.KeypointPROPELLoss()(mu, sigma, target, weight)
    got = SumLoss([rle, dict(rle, loss_weight=2.0)])(mu, sigma, target, weight)
    torch.testing.assert_close(got, 3 * one)
    simcc = dict(type='mmlosses.KLDiscretLoss')
    pred = torch.randn(2, 3, 8), torch.randn(2, 3, 6)
    aim = tuple(x.softmax(-1) for x in pred)
    weight = torch.rand(2, 3)
    one = losses.KLDiscretLoss()(pred[::-1], aim[::-1], weight)
    got = SumLoss([simcc, simcc])(pred[::-1], aim[::-1], weight)
    torch.testing.assert_close(got, 2 * one)
    scores, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    one = losses.CrossEntropyLoss()(scores, labels, ignore_index=1)
    got = SumLoss([CE, CE])(scores, labels, ignore_index=1)
    torch.testing.assert_close(got, 2 * one)
    heat = dict(type='mmlosses.GaussianFocalLoss')
    pred, target = torch.rand(4, 3), 0.5 * torch.rand(4, 3)
    where = dict(
        pos_inds=torch.tensor([0, 3]), pos_labels=torch.tensor([1, 2]))
    one = losses.GaussianFocalLoss()(pred, target, **where)
    got = SumLoss([heat, heat])(pred, target, **where, avg_factor=None)
    torch.testing.assert_close(got, 2 * one)


class MinimalLoss(nn.Module):
    """A loss like mmpose's: another name for the weight, nothing more."""

    def __init__(self, answer=None):
        super().__init__()
        self.answer = answer

    def forward(self, output, target, target_weight=None):
        """A mean, or a fixed result."""
        error = (output - target).abs()
        if target_weight is not None:
            error = error * target_weight
        return error.mean() if self.answer is None else self.answer


def test_passes_accepted_arguments():
    pred, target, weight = boxes()
    loss = SumLoss([L1, dict(type=MinimalLoss)])
    got = loss(pred, target, weight=weight, avg_factor=None)
    torch.testing.assert_close(got, 2 * losses.L1Loss()(pred, target, weight))
    with pytest.raises(
            TypeError, match='MinimalLoss, in a SumLoss, takes no avg_f'):
        loss(pred, target, weight, avg_factor=7.0)


@pytest.mark.parametrize(
    'answer', [(torch.ones(()), torch.ones(())),
               dict(loss=torch.ones(())), 1.0, None],
    ids=lambda answer: type(answer).__name__)
def test_refuses_non_tensors(answer):
    pred, target, _ = boxes()
    if answer is None:
        tags = [torch.rand(1, 2, 1)] * 2
        loss = SumLoss([dict(type='mmlosses.AssociativeEmbeddingLoss')])
        with pytest.raises(TypeError, match='returned a tuple'):
            loss(*tags, torch.ones(1, 2).bool())
        return
    with pytest.raises(TypeError, match=f'returned a {type(answer).__name__}'):
        SumLoss([L1, dict(type=MinimalLoss, answer=answer)])(pred, target)


def test_refuses_mixed_shapes():
    pred, target, _ = boxes()
    loss = SumLoss([L1, GIOU])
    with pytest.raises(ValueError, match=r'\(5, 4\) of L1.*\(5,\) of GIoU'):
        loss(pred, target, reduction_override='none')
    # With an empty mask mmdet's losses return a scalar for 'none'.
    number = SumLoss([L1, dict(type=MinimalLoss, answer=torch.zeros(()))])
    assert number(pred, target).ndim == 0


@pytest.mark.parametrize('kwargs, error, text', [
    (dict(losses=[]), ValueError, 'at least one'),
    (dict(losses=L1), ValueError, 'must be a list'),
    (dict(losses=['mmlosses.L1Loss']), TypeError, 'must hold configs'),
    (dict(losses=[dict(beta=1)]), TypeError, 'must hold configs'),
    (dict(losses=[dict(type='L1Loss')]), ValueError,
     "write 'mmlosses.L1Loss'"),
    (dict(losses=[L1], weighting='equal'), ValueError, "'equal'"),
    (dict(losses=[L1], initial_log_var=1.0), ValueError, 'no effect'),
    (dict(losses=[L1], weighting='uncertainty',
          initial_log_var=[1, 2]), ValueError, 'each of 1 losses'),
    (dict(losses=[CE, FOCAL]), ValueError,
     'same use_sigmoid, got False in CrossEntropyLoss, True in FocalLoss'),
    (dict(losses=[dict(CE, use_sigmoid=True)], use_sigmoid=False), ValueError,
     'True in CrossEntropyLoss, False in SumLoss'),
    (dict(losses=[L1, MSE], class_weight=[1.0]), ValueError,
     'none of the losses of this SumLoss takes class_weight: L1Loss, MSELoss'),
    (dict(losses=[L1, dict(MSE, reduction='sum')]), ValueError,
     "'mean' and its MSELoss 'sum'"),
    (dict(losses=[L1, dict(type=MinimalLoss)],
          reduction='sum'), ValueError, "'sum' and its MinimalLoss 'mean'"),
])
def test_error_messages(kwargs, error, text):
    with pytest.raises(error, match=text):
        SumLoss(**kwargs)


class AvgFactorShapedLoss(nn.Module):
    """A loss whose result takes the shape of avg_factor, as mmdet's do."""
    reduction = 'mean'

    def forward(self, pred, target, weight=None, avg_factor=None):
        """A mean."""
        return (pred - target).abs().sum() / avg_factor


def test_avg_factor_of_shape_1_gives_a_scalar(hub):
    pred, target, _ = boxes()
    loss = SumLoss([L1, dict(type=AvgFactorShapedLoss)])
    got = loss(pred, target, avg_factor=torch.tensor([4.0]))
    assert got.shape == () and loss.parts['AvgFactorShapedLoss'].shape == ()
    torch.testing.assert_close(*loss.parts.values())
    assert 'train/sum_loss.AvgFactorShapedLoss' in hub.log_scalars


class CustomChannelsLoss(nn.Module):
    """The methods that a box head calls on a loss with custom channels."""
    custom_cls_channels = custom_activation = custom_accuracy = True
    use_sigmoid = False

    def get_cls_channels(self, num_classes):
        """Two more channels."""
        return num_classes + 2

    def get_activation(self, cls_score):
        """The identity."""
        return cls_score

    def get_accuracy(self, cls_score, labels):
        """A fixed accuracy."""
        return dict(acc_classes=torch.ones(1))

    def forward(self, pred, target):
        """The mean."""
        return pred.mean()


def test_attributes_for_heads():
    loss = SumLoss([
        dict(CE, ignore_index=255, class_weight=[1.0, 2.0]),
        dict(CE, ignore_index=255, class_weight=[1.0, 3.0])
    ])
    assert loss.use_sigmoid is False and loss.ignore_index == 255
    assert not hasattr(loss, 'activated') and not hasattr(loss, 'num_classes')
    assert not getattr(loss, 'custom_activation', False)
    with pytest.raises(AttributeError, match=r'agree on class_weight.*3\.0'):
        loss.class_weight
    assert SumLoss([dict(FOCAL, activated=True)]).activated
    smooth = dict(type='mmlosses.SmoothL1Loss')
    assert SumLoss([L1, smooth]).beta == 1.0
    with pytest.raises(AttributeError, match='beta'):
        SumLoss([smooth, dict(smooth, beta=0.5)]).beta
    # Heads may read them from the config of a regression loss too.
    assert SumLoss([L1]).use_sigmoid is None
    with pytest.raises(AttributeError, match='no_such_thing'):
        loss.no_such_thing


def test_custom_channels():
    loss = SumLoss(
        [dict(type=CustomChannelsLoss),
         dict(type=CustomChannelsLoss)])
    assert loss.custom_cls_channels and loss.get_cls_channels(3) == 5
    assert loss.custom_activation and loss.custom_accuracy
    scores = torch.randn(2, 5)
    assert loss.get_activation(scores) is scores
    assert loss.get_accuracy(scores, None)['acc_classes'] == 1
    with pytest.raises(ValueError, match='custom_cls_channels'):
        SumLoss([dict(type=CustomChannelsLoss), CE])


@pytest.mark.parametrize('flags, expected', [((True, False), True),
                                             ((None, False), False),
                                             ((None, None), None)])
def test_use_target_weight_is_true_if_any_loss_needs_it(flags, expected):
    """Heads pass a weight if it is True."""
    configs = [dict(L1, use_target_weight=flag) for flag in flags]
    assert SumLoss(configs).use_target_weight is expected
    pred, target, weight = boxes()
    got = SumLoss(configs)(pred, target, weight)
    each = [losses.L1Loss(use_target_weight=flag) for flag in flags]
    torch.testing.assert_close(got, sum(x(pred, target, weight) for x in each))


def test_shared_arguments_are_defaults():
    loss = SumLoss(
        [CE, dict(CE, class_weight=[1.0, 2.0]),
         dict(type=MinimalLoss)],
        class_weight=[3.0, 4.0])
    assert [x.class_weight for x in loss.losses[:2]] == [[3.0, 4.0],
                                                         [1.0, 2.0]]
    # As DETRHead expands a number: one tensor for all losses.
    weight = torch.ones(CLASSES)
    loss = SumLoss([CE, CE], class_weight=weight)
    assert torch.equal(loss.class_weight, weight)


# Learned weights


def test_uncertainty_matches_formula():
    pred, target, weight = boxes()
    loss = SumLoss([L1, GIOU], 'uncertainty', initial_log_var=[0.5, -1.0])
    got = loss(pred, target, weight)
    terms = [
        losses.L1Loss()(pred, target, weight),
        losses.GIoULoss(loss_weight=2.0)(pred, target, weight)
    ]
    expected = 0.0
    for s, term in zip((0.5, -1.0), terms):
        expected += math.exp(-s) * term.item() + s / 2
    assert got.item() == pytest.approx(expected, rel=1e-5)
    assert sum(loss.parts.values()).item() == pytest.approx(expected, rel=1e-5)


def test_uncertainty_finds_the_closed_form():
    """Gradient descent reaches the minimum s = log 2 L."""
    pred, target, weight = [x.detach().double() for x in boxes()]
    loss = SumLoss([L1, GIOU], 'uncertainty', initial_log_var=3.0).double()
    optimizer = torch.optim.LBFGS(
        loss.parameters(), max_iter=100, line_search_fn='strong_wolfe')

    def closure():
        optimizer.zero_grad()
        value = loss(pred, target, weight)
        value.backward()
        return value

    optimizer.step(closure)
    terms = torch.stack([each(pred, target, weight) for each in loss.losses])
    torch.testing.assert_close(
        loss.log_vars.detach(), (2 * terms).log(), rtol=1e-4, atol=1e-4)
    least = closure().detach()
    torch.testing.assert_close(least, (0.5 + 0.5 * (2 * terms).log()).sum())


def test_uncertainty_gradients():
    pred, target, weight = [x.detach().double() for x in boxes()]
    loss = SumLoss([L1, MSE], 'uncertainty').double()

    def value(log_vars, pred, reduction):
        return torch.func.functional_call(
            loss, dict(log_vars=log_vars),
            (pred, target, weight, None, reduction))

    log_vars = torch.tensor([0.3, -0.7], dtype=torch.float64)
    for reduction in ('mean', 'sum', 'none'):
        assert torch.autograd.gradcheck(
            lambda *args: value(*args, reduction),
            (log_vars.requires_grad_(), pred.requires_grad_()))


def test_uncertainty_per_element():
    """Each element has the term, except those of weight 0."""
    pred, target, weight = boxes()
    weight = weight.clone()
    weight[0] = 0
    loss = SumLoss([L1, MSE], 'uncertainty', initial_log_var=2.0)
    got = loss(pred, target, weight, reduction_override='none')
    error = (pred - target).abs()
    expected = weight * math.exp(-2) * (error + error**2) + 2.0
    assert (got[0] == 0).all()
    torch.testing.assert_close(got[1:], expected[1:])


@pytest.mark.parametrize('count', [0, 3])
def test_empty_batch_trains_no_weight(count):
    """A batch without objects has gradient 0, not None."""
    pred, target, weight = boxes(count)
    loss = SumLoss([L1, GIOU], 'uncertainty', initial_log_var=1.0)
    got = loss(pred, target, 0 * weight, avg_factor=1.0)
    assert got == 0
    got.backward()
    assert (loss.log_vars.grad == 0).all() and (pred.grad == 0).all()


def test_optimizer_excludes_weight_decay():
    """With the line from the page."""
    model = nn.Module()
    model.layer = nn.Linear(2, 2)
    model.loss = SumLoss([L1, MSE], 'uncertainty')
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01),
            paramwise_cfg=dict(custom_keys={'log_vars': dict(decay_mult=0)})))
    decays = {
        id(parameter): group['weight_decay']
        for group in wrapper.param_groups
        for parameter in group['params']
    }
    assert decays[id(model.loss.log_vars)] == 0
    assert decays[id(model.layer.weight)] == 0.01


def train_uncertain(rank, folder):
    """Two steps, with no boxes on the other rank at first."""
    pred, target, weight = boxes()
    model = nn.Module()
    model.layer, model.loss = nn.Linear(4, 4), SumLoss([L1, GIOU],
                                                       'uncertainty')
    nn.init.eye_(model.layer.weight)
    nn.init.zeros_(model.layer.bias)
    model.forward = lambda x, *args: model.loss(model.layer(x), *args)
    wrapped = MMDistributedDataParallel(model)
    seen = []
    for step in range(2):
        count = 5 if rank == 0 or step else 0
        wrapped.zero_grad()
        wrapped(pred.detach()[:count], target[:count],
                weight[:count]).backward()
        seen.append(model.loss.log_vars.grad.clone())
    torch.save(seen, folder / f'{rank}.pt')


@needs_ranks
@pytest.mark.slow
def test_ranks_without_boxes(tmp_path):
    """They do not hang, and all ranks learn the same weights."""
    run_ranks(train_uncertain, tmp_path)
    one, other = [
        torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        for rank in range(2)
    ]
    for a, b in zip(one, other):
        assert torch.equal(a, b) and a.isfinite().all() and (a != 0).all()
    # The rank without boxes adds 0 to the mean of two.
    torch.testing.assert_close(2 * one[0], one[1])


# The log


def test_creates_no_message_hub():
    before = dict(MessageHub._instance_dict)
    MessageHub._instance_dict.clear()
    try:
        SumLoss([L1])(*boxes())
        assert not MessageHub._instance_dict
    finally:
        MessageHub._instance_dict.update(before)


def test_does_not_log_fake_tensors(hub):
    loss = SumLoss([L1])
    loss(torch.ones(2, 4), torch.zeros(2, 4))
    with FakeTensorMode():
        loss(torch.ones(2, 4), torch.zeros(2, 4))
    assert logged(hub, 'sum_loss.L1Loss') == [1.0]


def logged(hub, name):
    return hub.get_scalar(f'train/{name}').data[0].tolist()


def test_terms_are_logged_once_per_iteration(hub):
    """Terms of several levels are summed, as mmengine sums losses."""
    loss = SumLoss([L1, GIOU], loss_weight=0.5)
    expected = []
    for iteration in range(3):
        hub.update_info('iter', iteration)
        expected.append(0.0)
        for level in range(iteration + 1):
            loss(*boxes(seed=level))
            expected[-1] += loss.parts['GIoULoss'].item()
    assert logged(hub, 'sum_loss.GIoULoss') == pytest.approx(expected)
    assert len(logged(hub, 'sum_loss.L1Loss')) == 3
    scalar = hub.get_scalar('train/sum_loss.GIoULoss')
    for name in ('mean', 'max', 'min', 'current'):
        for read in (getattr(scalar, name), lambda: scalar.statistics(name)):
            loss(*boxes(seed=9))
            assert scalar.waiting
            read()
            assert not scalar.waiting


def test_statistics_match_a_plain_history_buffer():
    values = torch.randn(20)
    device, plain = DeviceHistory(), HistoryBuffer()
    for index, value in enumerate(values):
        device.add(value, index)
        plain.update(value.item())
    device.update(3.0)
    plain.update(3.0)
    assert device.current() == plain.current()
    for name in ('mean', 'max', 'min'):
        for window in (None, 5):
            assert device.statistics(name,
                                     window) == plain.statistics(name, window)
            assert getattr(device, name)(window) == getattr(plain, name)(
                window)


def test_logs_in_training_only(hub):
    loss = SumLoss([L1])
    with torch.no_grad():
        loss(*boxes())
    loss.eval()(*boxes())
    loss.train()(*boxes(), reduction_override='none')
    assert not hub.log_scalars
    loss(*boxes())
    assert list(hub.log_scalars) == ['train/sum_loss.L1Loss']


def test_each_loss_has_its_own_name(hub):
    """A second loss gets a number; names of deleted losses are reused."""
    one, two = SumLoss([L1]), SumLoss([L1, MSE])
    named = SumLoss([L1], log_name='loss_bbox')
    for _ in range(2):
        for loss in (one, two, named):
            loss(*boxes())
    names = [
        'sum_loss.L1Loss', 'sum_loss_2.L1Loss', 'sum_loss_2.MSELoss',
        'loss_bbox.L1Loss'
    ]
    assert list(hub.log_scalars) == [f'train/{name}' for name in names]
    del one, loss
    gc.collect()
    SumLoss([L1])(*boxes())
    assert len(hub.log_scalars) == len(names)


def test_checkpoints_hold_plain_buffers(hub):
    """A resumed log continues."""
    loss = SumLoss([L1])
    loss(*boxes())
    for saved in (hub.state_dict(),
                  pickle.loads(pickle.dumps(hub.state_dict()))):
        scalar = saved['log_scalars']['train/sum_loss.L1Loss']
        assert type(scalar) is HistoryBuffer
        assert scalar.current() == loss.parts['L1Loss'].item()
    twin = copy.deepcopy(hub.get_scalar('train/sum_loss.L1Loss'))
    assert type(twin) is HistoryBuffer
    other = MessageHub.get_instance('test_sum_resumed')
    other.load_state_dict(saved)
    loss(*boxes(seed=1))
    assert len(other.get_scalar('train/sum_loss.L1Loss').data[0]) == 2
    assert len(hub.get_scalar('train/sum_loss.L1Loss').data[0]) == 1


def test_logging_does_not_synchronise(hub):
    """Reading the log does, which shows that the test can detect it."""
    loss = SumLoss([L1, GIOU], 'uncertainty').to(DEVICE)
    pred, target, weight = [x.detach().to(DEVICE) for x in boxes()]
    with no_host_sync():
        for iteration in range(3):
            hub.update_info('iter', iteration)
            for _ in range(2):
                loss(
                    pred.requires_grad_(), target, weight,
                    avg_factor=7.0).backward()
    scalar = hub.get_scalar('train/sum_loss.L1Loss')
    assert len(scalar.waiting) == 3
    with pytest.raises(HostSync), no_host_sync():
        scalar.mean()


def test_unread_log_stays_small():
    scalar = DeviceHistory()
    for index in range(2 * MOST_WAITING + 1):
        scalar.add(torch.ones(()), index)
        assert len(scalar.waiting) <= MOST_WAITING
    assert scalar.data[0].sum() == 2 * MOST_WAITING + 1


def test_per_sample_gradients_are_not_logged(hub):
    """There, one value stands for a batch of values."""
    loss = SumLoss([L1])
    pred, target, _ = [x.detach() for x in boxes()]
    torch.func.vmap(torch.func.grad(loss))(pred, target)
    assert not hub.log_scalars


def test_compiled_models_do_not_log(hub):
    needs_dynamo(SumLoss)
    loss = SumLoss([L1])
    compiled = torch.compile(loss, fullgraph=True, backend='eager')
    pred, target, weight = boxes()
    got = compiled(pred, target, weight)
    torch.testing.assert_close(got, losses.L1Loss()(pred, target, weight))
    torch.testing.assert_close(loss.parts['L1Loss'], got.detach())
    assert not hub.log_scalars


def bare(wrapper):
    """A wrapper of two losses by bare names, and the two."""
    configs = [
        dict(type='L1Loss', loss_weight=0.5),
        dict(type='SmoothL1Loss', beta=0.5, reduction='sum')
    ]
    if wrapper is CombinedLoss:
        configs = dict(zip(('one', 'other'), configs))
    built = MODELS.build(
        dict(type=f'mmlosses.{wrapper.__name__}', losses=configs))
    return built, losses.L1Loss(loss_weight=0.5), losses.SmoothL1Loss(
        beta=0.5, reduction='sum')


@pytest.mark.parametrize('scope', [None, 'elsewhere'])
@pytest.mark.parametrize('wrapper', [MultipleLossWrapper, CombinedLoss])
def test_bare_names_in_a_wrapper_are_ours(wrapper, scope):
    """Also where the project has losses of the same name, and more."""
    project = Registry('model', parent=ROOT_MODELS, scope='elsewhere')
    for name in ('L1Loss', 'Foreign'):
        project.register_module(module=type(name, (nn.L1Loss, ), {}))
    if scope is not None:
        DefaultScope.get_instance('test', scope_name=scope)
    try:
        built, *_ = bare(wrapper)
        assert [type(x) for x in built.inner()
                ] == [losses.L1Loss, losses.SmoothL1Loss]
        if scope is not None:
            config = dict(type='Foreign')
            many = MultipleLossWrapper(
                [config, dict(type='L1Loss', _scope_=scope)])
            assert [type(x).__bases__
                    for x in many.inner()] == [(nn.L1Loss, )] * 2
    finally:
        ROOT_MODELS._children.pop('elsewhere')


def test_wrapper_calls_its_losses():
    """As DSNTHead: coordinates and heatmaps with a weight (N, K)."""
    built, one, other = bare(MultipleLossWrapper)
    built.loss_weight = 3.0
    pred, target = torch.randn(2, 3, 4, 2)
    maps, truth = torch.rand(2, 3, 4, 8, 6)
    weight = torch.tensor([0.0, 1.0, 0.5, 1.0]).expand(3, 4)
    for call in ((weight, ), ()):
        first, second = built([pred, maps], [target, truth], *call)
        torch.testing.assert_close(first, 3 * one(pred, target, *call))
        torch.testing.assert_close(second, 3 * other(maps, truth, *call))
    named, _ = built([pred, maps], [target, truth], keypoint_weights=weight)
    torch.testing.assert_close(named, 3 * one(pred, target, weight))


class PullPush(nn.Module):
    """A loss of two terms, as of associative embedding."""

    def forward(self, pred, target, weight):
        return pred.sum(), target.sum()


def test_wrapper_passes_tuples_on():
    """A prediction, and a result, may be of several tensors."""
    built = MultipleLossWrapper(
        [PullPush(), dict(type='KLDiscretLoss')], loss_weight=2.0)
    tags, bins, truth = torch.ones(5), torch.randn(3, 4,
                                                   6), torch.rand(3, 4, 6)
    bins, truth = (bins, bins), (truth, truth)
    terms, value = built([tags, bins], [3 * tags, truth], torch.ones(3, 4))
    assert terms == (10.0, 30.0)
    assert value == 2 * losses.KLDiscretLoss()(bins, truth, torch.ones(3, 4))


def test_combined_loss_is_a_dict_of_losses():
    built, one, other = bare(CombinedLoss)
    pred, target = torch.randn(2, 3, 4)
    assert isinstance(built, nn.ModuleDict) and list(built) == ['one', 'other']
    assert built['one'] is built.one
    assert torch.equal(built.one(pred, target), one(pred, target))
    built.loss_weight = 3.0
    assert built.one.loss_weight == 1.5 and built.loss_weight == 3.0
    torch.testing.assert_close(
        built.other(pred, target), 3 * other(pred, target))
    assert not list(built.state_dict())
    with pytest.raises(NotImplementedError, match=r'one, other: .*\.one\('):
        built(pred, target)


@pytest.mark.parametrize('wrapper, given, error, message', [
    (MultipleLossWrapper, [], ValueError, 'at least one'),
    (MultipleLossWrapper, dict(one=L1), ValueError, 'must be a list'),
    (MultipleLossWrapper, [3], TypeError, 'configs of losses'),
    (CombinedLoss, {}, ValueError, 'at least one'),
    (CombinedLoss, [L1], ValueError, 'must be a dict'),
    (CombinedLoss, dict(one='L1Loss'), TypeError, 'configs of losses'),
    (CombinedLoss, dict(reduction=L1), ValueError, "'reduction' cannot"),
])
def test_wrappers_refuse(wrapper, given, error, message):
    with pytest.raises(error, match=message):
        wrapper(given)


def test_wrappers_refuse_a_weight_that_a_loss_does_not_have():
    plain = dict(one=nn.L1Loss(), other=losses.L1Loss())
    built = CombinedLoss(plain)
    with pytest.raises(ValueError, match='one is a L1Loss, which has no'):
        built.loss_weight = 2.0


def test_wrapper_refuses_a_wrong_number_of_inputs():
    built, *_ = bare(MultipleLossWrapper)
    numbers = torch.ones(2, 3)
    for inputs in ([numbers], [numbers] * 3):
        with pytest.raises(ValueError, match='each of 2 losses, got'):
            built(inputs, [numbers] * 2)
        with pytest.raises(ValueError, match='target_list must'):
            built([numbers] * 2, inputs)
    with pytest.raises(TypeError, match='input_list must be a list'):
        built(numbers, numbers)


@pytest.mark.parametrize('wrapper', [MultipleLossWrapper, CombinedLoss])
def test_wrappers_share_what_a_loss_does_not_set(wrapper):
    given = [L1, dict(L1, reduction='sum', use_target_weight=False)]
    if wrapper is CombinedLoss:
        given = dict(zip('ab', given))
    built = wrapper(
        given, reduction='none', use_target_weight=True, compile=True)
    assert [x.reduction for x in built.inner()] == ['none', 'sum']
    assert [x.use_target_weight for x in built.inner()] == [True, False]
    assert all([x.is_compiled for x in built.inner()]) and built.is_compiled


def test_config_check_knows_whose_a_bare_name_is():
    """In a wrapper of mmlosses it is ours, elsewhere the project's."""
    given = [L1, dict(type='SmoothL1Loss'), dict(type='mmpose.MSELoss')]
    for head in (dict(type='mmlosses.MultipleLossWrapper', losses=given),
                 dict(
                     type='mmlosses.CombinedLoss',
                     losses=dict(zip('abc', given)))):
        found = dict(loss_configs(dict(loss_module=head), 'head'))
        scopes = [x.get('_scope_') for x in found.values()][1:]
        assert scopes == [None, 'mmlosses', None]
    model = nn.Module()
    model.loss_module, *_ = bare(CombinedLoss)
    model.loss, *_ = bare(MultipleLossWrapper)
    paths = dict(loss_modules(model))
    assert [slot_of(model, path) for path in paths
            ] == ['loss_module.one', 'loss_module.other', 'loss', 'loss']
