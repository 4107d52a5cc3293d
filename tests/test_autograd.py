"""Mixed precision, second derivatives and per-sample gradients."""
import pytest
import torch
from cases import CASES
from test_properties import couples_samples
from torch import nn
from torch.autograd.gradcheck import GradcheckError

from mmlosses.core.tensors import map_tensors

every_loss = pytest.mark.parametrize(
    'case', CASES, ids=lambda case: case.loss.__name__)


def as_list(tensors):
    return list(tensors) if isinstance(tensors, tuple) else [tensors]


def leaf(tensors, dtype):
    return map_tensors(
        lambda x: x.detach().to(dtype).requires_grad_()
        if x.is_floating_point() else x, tensors)


class Model(nn.Module):
    """One linear layer per prediction tensor, then the loss."""

    def __init__(self, case):
        super().__init__()
        self.case = case
        self.loss = case.build()
        pred, _ = case.sample()
        self.layers = nn.ModuleList(
            [nn.Linear(x.shape[-1], x.shape[-1]) for x in as_list(pred)])
        for layer in self.layers:
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)

    def predict(self, pred):
        got = [layer(x) for layer, x in zip(self.layers, as_list(pred))]
        return tuple(got) if isinstance(pred, tuple) else got[0]

    def compute(self, pred, target):
        return self.case.run(self.loss, pred, target)


@every_loss
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_predictions_under_autocast(case, dtype):
    """Value and gradients equal those of the same numbers in float32."""
    if dtype == torch.float16 and torch.__version__ < '2.4':
        pytest.skip('no autocast to float16 on the CPU before torch 2.4')
    model = Model(case)
    parameters = list(model.parameters())
    pred, target = case.sample()
    with torch.autocast('cpu', dtype=dtype):
        outputs = model.predict(pred)
        assert as_list(outputs)[0].dtype == dtype
        got = model.compute(outputs, target)
    assert got.dtype == torch.float32
    expected = model.compute(map_tensors(torch.Tensor.float, outputs), target)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    for one, other in zip(
            torch.autograd.grad(got, parameters, retain_graph=True),
            torch.autograd.grad(expected, parameters)):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=0, atol=0)


SCALE = 2.0**16


@every_loss
def test_loss_scale_scales_gradient(case):
    """Gradients scale exactly. Half precision rounds or overflows only
    where the scaled gradient does, and never gives NaN.
    """
    pred, target = case.sample(dtype=torch.float16)
    single = leaf(pred, torch.float32)
    loss = case.build()
    plain = torch.autograd.grad(
        case.run(loss, single, target), as_list(single))
    scaled = torch.autograd.grad(SCALE * case.run(loss, single, target),
                                 as_list(single))
    half = torch.autograd.grad(SCALE * case.run(loss, pred, target),
                               as_list(pred))
    for one, other, rounded in zip(plain, scaled, half):
        assert one.isfinite().all()
        torch.testing.assert_close(other / SCALE, one)
        torch.testing.assert_close(rounded, other.half())
        assert not rounded.isnan().any()


@every_loss
def test_gradient_scaler_converges(case):
    """Half-precision training takes a step after a few overflows."""
    if not hasattr(torch.amp, 'GradScaler'):
        pytest.skip('no GradScaler for the CPU before torch 2.3')
    model = Model(case)
    before = [x.detach().clone() for x in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    scaler = torch.amp.GradScaler('cpu', init_scale=SCALE)
    pred, target = case.sample(dtype=torch.float16)
    for _ in range(16):
        optimizer.zero_grad()
        with torch.autocast('cpu', dtype=torch.float16):
            value = model.compute(model.predict(pred), target)
        scaler.scale(value).backward()
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() == scale:
            break
    else:
        pytest.fail('every step overflowed')
    moved = [
        not torch.equal(one, other)
        for one, other in zip(before, model.parameters())
    ]
    assert any(moved)
    assert all([x.isfinite().all() for x in model.parameters()])


# Their formulas detach a factor that depends on the prediction: autograd
# cannot give the derivative of their gradient.
NO_SECOND_DERIVATIVE = {
    'CIoULoss': {},
    'EIoULoss': dict(focal_gamma=0.5),
    'RotatedCIoULoss': {},
    'SeesawLoss': {},
    'SwAVLoss': {},
    'WIoULoss': {},
}


def check_second_derivative(case, **kwargs):
    pred, target = case.sample(2, torch.float64)
    loss = case.build(reduction='sum', **kwargs).double()

    def value(*tensors):
        return case.run(loss,
                        tensors if isinstance(pred, tuple) else tensors[0],
                        target)

    assert torch.autograd.gradgradcheck(value, tuple(as_list(pred)))


@every_loss
def test_second_derivatives(case):
    """L1 has second derivatives of 0."""
    without = NO_SECOND_DERIVATIVE.get(case.loss.__name__)
    if without != {}:
        check_second_derivative(case)
    if without is not None:
        with pytest.raises(GradcheckError):
            check_second_derivative(case, **without)


@pytest.mark.parametrize(
    'case', [case for case in CASES if not couples_samples(case.build())],
    ids=lambda case: case.loss.__name__)
def test_per_sample_gradients(case):
    """``torch.func`` matches a loop over independent samples."""
    pred, target = [
        map_tensors(torch.Tensor.detach, x) for x in case.sample(3)
    ]
    weight = case.random_weight()
    loss = case.build()

    def of_sample(pred, target, weight):
        pred, target, weight = [
            map_tensors(lambda x: x.unsqueeze(0), x)
            for x in (pred, target, weight)
        ]
        return case.run(loss, pred, target, weight)

    got = torch.func.vmap(torch.func.grad(of_sample))(pred, target, weight)
    for i in range(3):
        one, goal = [map_tensors(lambda x: x[i], x) for x in (pred, target)]
        one = leaf(one, torch.float32)
        expected = torch.autograd.grad(
            of_sample(one, goal, weight[i]), as_list(one))
        for grads, grad in zip(as_list(got), expected):
            torch.testing.assert_close(grads[i], grad)
