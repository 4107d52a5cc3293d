"""No loss synchronises with the host, in forward or backward.

FakeTensorMode, which the contract uses, refuses data-dependent operators but
allows copies between devices, which synchronise too. Here the tensors are on
the ``meta`` device.
"""
import contextlib
import dataclasses

import pytest
import torch
from cases import CASES
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmlosses.core.tensors import map_tensors
from mmlosses.losses import CCSLoss

DEVICE = torch.device('meta')

WAITS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class HostSync(RuntimeError):
    """An operator that would synchronise with the host."""


class NoHostSync(TorchDispatchMode):
    """Raise for each operator that synchronises with the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        waits = any([tag in func.tags for tag in WAITS])
        if name in ('aten::index', 'aten::index_put', 'aten::index_put_'):
            # Tagged for boolean masks, whose result has a dynamic shape.
            waits = any([
                index is not None and index.dtype in (torch.bool, torch.uint8)
                for index in args[1]
            ])
        if waits:
            raise HostSync(f'{name} depends on data')
        kwargs = kwargs or {}
        if name == 'aten::_to_copy':
            devices = {args[0].device, kwargs.get('device', args[0].device)}
        elif name == 'aten::copy_':
            devices = {args[0].device, args[1].device}
        else:
            devices = set()
        if len(devices) > 1:
            raise HostSync(f'{name} copies between devices')
        return func(*args, **kwargs)


class NoHostCopy(TorchFunctionMode):
    """Raise for a tensor built from Python numbers: a copy to the device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor):
            raise HostSync(f'{func.__name__} copies its numbers')
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def no_host_sync():
    with NoHostSync(), NoHostCopy():
        yield


def on_device(tensors):
    return map_tensors(lambda x: x.detach().to(DEVICE), tensors)


VARIANTS = [
    pytest.param(
        dataclasses.replace(
            case, kwargs={
                **case.kwargs,
                **kwargs
            }, training=True),
        id=f'{case.loss.__name__}-{name}',
        marks=() if name == 'default' else pytest.mark.slow) for case in CASES
    for name, kwargs in [('default', {})] +
    [(name, kwargs) for name, (_, kwargs) in case.arguments.items()]
]


@pytest.mark.parametrize('case', VARIANTS)
def test_no_host_sync(case):
    pred, target = [on_device(tensors) for tensors in case.sample()]
    pred = map_tensors(torch.Tensor.requires_grad_, pred)
    weight = on_device(case.random_weight())
    loss = case.build().to(DEVICE)
    leaves = list(pred) if isinstance(pred, tuple) else [pred]
    factor = on_device(torch.tensor(7.0))
    for args in ((), (weight, factor)):
        try:
            with no_host_sync():
                got = case.run(loss, pred, target, *args)
                torch.autograd.grad(got.sum(),
                                    leaves + list(loss.parameters()))
        except NotImplementedError as error:
            # Some operators of torch 2.0 need a device with data.
            assert "'Meta' backend" in str(error)
            pytest.skip(str(error)[:80])


def anchors_of_ccs(device):
    """Anchors, embeddings, class weights and annotations."""
    return [
        torch.ones(shape, device=device)
        for shape in ((2, 9, 4), (2, 9, 6), (5, 6), (2, 3, 5))
    ]


def test_anchors_are_not_counted_on_a_device():
    """On the CPU they are, since nothing has to synchronise."""
    with no_host_sync():
        assert CCSLoss().forward_anchors(*anchors_of_ccs(DEVICE)).shape == ()
    with pytest.raises(HostSync), no_host_sync():
        CCSLoss().forward_anchors(*anchors_of_ccs('cpu'))


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_anchors_are_not_counted_on_fake_tensors(device):
    with FakeTensorMode():
        try:
            got = CCSLoss().forward_anchors(*anchors_of_ccs(device))
        except RuntimeError as error:
            if 'NVIDIA' not in str(error) and 'CUDA driver' not in str(error):
                raise
            pytest.skip(f'this torch looks for the device: {error}')
    assert got.shape == ()


class SyncInBackward(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        return grad * float(grad.sum())


def assign_by_mask(x):
    x = x * 1
    x[x > 0] = x[x > 0] + 1
    return x


SYNCS = {
    'item': lambda x: x * x.sum().item(),
    'float': lambda x: x * float(x.detach().sum()),
    'if': lambda x: x if x.sum() > 0 else -x,
    'any': lambda x: x if torch.any(x > 0) else -x,
    'tolist': lambda x: x.sum() + len(x.tolist()),
    'equal': lambda x: x * torch.equal(x, x),
    'allclose': lambda x: x * torch.allclose(x, x),
    'nonzero': lambda x: x.nonzero(),
    'where with one argument': lambda x: x[torch.where(x > 0)],
    'indexing by a mask': lambda x: x[x > 0],
    'assignment by a mask': assign_by_mask,
    'masked_select': lambda x: x.masked_select(x > 0),
    'unique': lambda x: x.unique(),
    'repeat_interleave': lambda x: x.repeat_interleave((x > 0).long()),
    'slice of a length': lambda x: x[:(x > 0).sum()],
    'cpu': lambda x: x.cpu(),
    'to the device': lambda x: x * torch.ones(3).to(x.device),
    'tensor of a list':
    lambda x: x * torch.tensor([1., 2., 3.], device=DEVICE),
    'new_tensor': lambda x: x * x.new_tensor(2.0),
    'numpy': lambda x: x.detach().cpu().numpy(),
    'backward': SyncInBackward.apply,
}

NO_SYNCS = {
    'arithmetic': lambda x: torch.where(x > 0, x, 2 * x).sum(),
    'reduction': lambda x: x / x.detach().abs().amax(),
    'indexing by integers': lambda x: x[torch.arange(2, device=DEVICE)],
    'gather': lambda x: x.gather(0,
                                 x.detach().argsort()),
    'a new tensor': lambda x: x * torch.full((3, ), 2.0, device=DEVICE),
    'a new dtype': lambda x: x.double().sum(),
}


@pytest.mark.parametrize('function', SYNCS.values(), ids=SYNCS)
def test_host_sync_is_caught(function):
    x = torch.zeros(3, device=DEVICE, requires_grad=True)
    with pytest.raises(HostSync), no_host_sync():
        function(x).sum().backward()


@pytest.mark.parametrize('function', NO_SYNCS.values(), ids=NO_SYNCS)
def test_asynchronous_operators_pass(function):
    x = torch.zeros(3, device=DEVICE, requires_grad=True)
    with no_host_sync():
        function(x).sum().backward()
    assert x.grad is not None
