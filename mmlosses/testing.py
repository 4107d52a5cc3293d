"""The contract that every loss of mmlosses keeps, as checks that anyone can
run on a loss of their own.

A loss joins with one :class:`LossCase`, which says what its inputs look like;
:data:`CONTRACT` holds the checks by name. A check raises an
``AssertionError`` that says what was broken.
"""
from __future__ import annotations
import copy
import functools
import inspect
import pickle
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Sequence, Tuple, Type

import torch
from torch import Tensor

from .core.base import BaseLoss
from .core.reduction import EPS
from .core.tensors import Tensors, map_tensors

Inputs = Tuple[Tensors, Tensors]
Check = Callable[['LossCase'], None]

#: Every check of the contract, by name.
CONTRACT: Dict[str, Check] = {}

# Arguments of the base class, which have checks of their own.
COMMON_ARGUMENTS = ('reduction', 'loss_weight', 'use_target_weight', 'compile')


@dataclass(frozen=True)
class Stock:
    """A stock loss whose value and gradient a loss must have.

    Args:
        name (str): Its scoped name, such as ``'mmdet.GIoULoss'``.
        kwargs (dict): Its arguments.
        ours (dict): Those of our loss, where it needs others.
        tolerance (float): Relative tolerance of values and gradients.
    """
    name: str
    kwargs: Dict[str, Any] = field(default_factory=dict)
    ours: Dict[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-5


@dataclass
class LossCase:
    """What the contract needs to know about one loss.

    Args:
        loss (type): The class.
        inputs (Callable): Makes a float32 prediction and target, random and
            small, for a batch size, from torch's global generator.
        element_shape (Callable): Shape of the unreduced loss for a batch size.
        kwargs (dict): Arguments that build the loss in a form where a weight
            is optional.
        arguments (dict): For each constructor argument but the common ones,
            two sets of arguments between which the loss must differ, so that
            no argument is dead.
        stock_kwargs (list[dict]): Arguments that a stock config leaves in
            place when only its ``type`` is overridden.
        perfect (Callable, optional): Makes, for a batch size, a prediction
            and target at which value and gradient are 0.
        perfect_kwargs (dict): Arguments for which that holds.
        non_negative (bool): Whether the loss of ``perfect_kwargs`` is never
            below 0.
        parameters (Sequence[str]): Names of the loss's own parameters.
        call (Callable, optional): Calls the loss, with the arguments of
            :meth:`BaseLoss.forward`, where its own ``forward`` takes others.
        large (float): What makes ``pred`` large enough for its squares to
            overflow in half precision, and not in float32.
        training (bool): Whether to check the loss in training mode, which
            may update its buffers.
        mean (Callable): What ``'mean'`` makes of the unreduced loss when
            there is no ``avg_factor``.
        refused (dict): For an argument that admits no other value in this
            case, such as the size of the inputs, one that must be a
            ``ValueError``.
        show (dict[str, Callable]): For an argument that changes something
            else than the value of the loss, a function of the loss that gives
            a tensor which ``arguments`` must change.
        stock (Sequence[Stock]): Stock losses with the same numbers.
        constant_factors (bool): Whether the formula takes factors that depend
            on the prediction for constants, so that the gradient is not that
            of the value and needs a test of its own.
    """
    loss: Type[BaseLoss]
    inputs: Callable[[int], Inputs]
    element_shape: Callable[[int], Sequence[int]]
    kwargs: Dict[str, Any] = field(default_factory=dict)
    arguments: Dict[str, Tuple[dict, dict]] = field(default_factory=dict)
    stock_kwargs: List[Dict[str, Any]] = field(default_factory=list)
    perfect: Callable[[int], Inputs] | None = None
    perfect_kwargs: Dict[str, Any] = field(default_factory=dict)
    non_negative: bool = False
    parameters: Sequence[str] = ()
    call: Callable[..., Tensor] | None = None
    large: float = 300.0
    training: bool = True
    mean: Callable[[Tensor], Tensor] = Tensor.mean
    refused: Dict[str, Any] = field(default_factory=dict)
    show: Dict[str, Callable[[BaseLoss], Tensor]] = field(default_factory=dict)
    stock: Sequence[Stock] = ()
    constant_factors: bool = False

    def build(self, **kwargs: Any) -> BaseLoss:
        """Build the loss, the same each time."""
        torch.manual_seed(0)
        loss = self.loss(**{**self.kwargs, **kwargs})
        return loss.train(self.training)

    def run(self, loss: Callable[..., Tensor], *args: Any,
            **kwargs: Any) -> Tensor:
        """Call the loss as :meth:`BaseLoss.forward` is called."""
        if self.call is None:
            return loss(*args, **kwargs)
        return self.call(loss, *args, **kwargs)

    def sample(self,
               batch: int = 3,
               dtype: torch.dtype = torch.float32,
               scale: float = 1.0) -> Inputs:
        """Make inputs, the same each time; ``pred`` requires a gradient."""
        torch.manual_seed(1)
        pred, target = self.inputs(batch)
        pred = map_tensors(lambda x: x * scale, pred)
        return _leaf(_cast(pred, dtype)), _cast(target, dtype)

    def random_weight(self, batch: int = 3) -> Tensor:
        """Make a weight for each element, the same each time."""
        torch.manual_seed(2)
        return torch.rand(tuple(self.element_shape(batch))) + 0.5


def contract(check: Check) -> Check:
    """Add a check to the contract; an error of the loss breaks it too."""

    @functools.wraps(check)
    def checked(case: LossCase) -> None:
        try:
            check(case)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(
                f'{check.__doc__} {case.loss.__name__} raised '
                f'{type(error).__name__}: {error}') from error

    CONTRACT[check.__name__] = checked
    return checked


def _list(tensors: Tensors) -> List[Tensor]:
    if isinstance(tensors, (tuple, list)):
        return list(tensors)
    return [tensors]


def _cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    return map_tensors(
        lambda x: x.detach().to(dtype)
        if x.is_floating_point() else x, tensors)


def _leaf(tensors: Tensors) -> Tensors:
    return map_tensors(lambda x: x.detach().clone().requires_grad_(), tensors)


def _grads(loss: Tensor, pred: Tensors) -> List[Tensor]:
    """The gradients of a prediction; an unused one is a broken graph."""
    assert loss.requires_grad, 'the loss is not connected to the graph of pred'
    return list(torch.autograd.grad(loss.sum(), _list(pred)))


def _raises(expected: Type[Exception], call: Callable[[], Any],
            what: str) -> str:
    """The message of the error that a call must raise."""
    try:
        call()
    except expected as error:
        assert type(error) in (ValueError, TypeError), (
            f'{what} raised {type(error).__name__}')
        assert str(error), f'{what} raised an error without a message'
        return str(error)
    except Exception as error:
        raise AssertionError(f'{what} must raise {expected.__name__}, raised '
                             f'{type(error).__name__}: {error}') from error
    raise AssertionError(f'{what} must raise {expected.__name__}')


def _same(got: Any, expected: Any, what: str, **kwargs: Any) -> None:
    # Losses of the same inputs by another path: rounding may differ.
    kwargs = {'rtol': 1e-5, 'atol': 1e-6, 'equal_nan': True, **kwargs}
    torch.testing.assert_close(
        got, expected, msg=lambda text: f'{what}: {text}', **kwargs)


@contract
def constructor(case: LossCase) -> None:
    """`reduction` and `loss_weight` have defaults and stay attributes."""
    signature = inspect.signature(case.loss).parameters
    for name, default in (('reduction', 'mean'), ('loss_weight', 1.0)):
        assert name in signature, f'the constructor takes no {name}'
        assert signature[name].default == default, f'{name} is not {default}'
    loss = case.build(reduction='sum', loss_weight=2.5)
    assert (loss.reduction, loss.loss_weight) == ('sum', 2.5)
    _raises(ValueError, lambda: case.build(reduction='average'),
            'an unknown reduction')
    _raises(TypeError, lambda: case.build(loss_weight='1'),
            'a loss_weight that is no number')


@contract
def no_dead_argument(case: LossCase) -> None:
    """Each constructor argument changes the loss of some input."""
    names = set(inspect.signature(case.loss).parameters)
    names -= set(COMMON_ARGUMENTS)
    varied = [*case.arguments, *case.refused]
    assert sorted(names) == sorted(varied), (
        f'the case must vary each of {sorted(names)}, it varies '
        f'{sorted(varied)}')
    pred, target = case.sample()
    weight = torch.tensor([0.0, 0.7, 1.3])

    def losses(loss: BaseLoss) -> Tensor:
        # Some arguments say what a weight does.
        return torch.stack(
            [case.run(loss, pred, target, *args) for args in ((), (weight, ))])

    for name, value in case.refused.items():
        _raises(ValueError,
                lambda: case.run(case.build(**{name: value}), pred, target),
                f'{name}={value!r}')
    for name, (before, after) in case.arguments.items():
        show = case.show.get(name, losses)
        one, other = show(case.build(**before)), show(case.build(**after))
        assert not torch.allclose(
            one, other, rtol=1e-4, atol=0
        ), (f'{name} is a dead argument: {before} and {after} both give {one}')


@contract
def stock_kwargs(case: LossCase) -> None:
    """The arguments that a stock config leaves in place are accepted."""
    for kwargs in case.stock_kwargs:
        loss = case.loss(**{**case.kwargs, **kwargs})
        for name, value in kwargs.items():
            assert getattr(loss, name) == value, f'{name} is not kept'


@contract
def element_shape(case: LossCase) -> None:
    """`'none'` has the documented shape, also for one sample and none."""
    loss = case.build(reduction='none')
    for batch in (0, 1, 3):
        got = tuple(case.run(loss, *case.sample(batch)).shape)
        assert got == tuple(case.element_shape(batch)), (
            f"reduction='none' gives {got} for a batch of {batch}")


@contract
def reductions(case: LossCase) -> None:
    """Sum, mean and `loss_weight` follow from the unreduced loss."""
    pred, target = case.sample()
    elements = case.run(case.build(reduction='none'), pred, target)
    for name, expected in (('none', elements), ('sum', elements.sum()),
                           ('mean', case.mean(elements))):
        _same(
            case.run(case.build(reduction=name), pred, target), expected, name)
        override = case.build(reduction='sum')
        _same(
            case.run(override, pred, target, reduction_override=name),
            expected, f'reduction_override={name!r}')
        scaled = case.build(reduction=name, loss_weight=2.5)
        _same(
            case.run(scaled, pred, target), 2.5 * expected, 'loss_weight=2.5')
        scaled.loss_weight = 0.5
        _same(
            case.run(scaled, pred, target), 0.5 * expected,
            'loss_weight set later')
    _raises(
        ValueError, lambda: case.run(
            case.build(), pred, target, reduction_override='average'),
        'an unknown reduction_override')


@contract
def avg_factor(case: LossCase) -> None:
    """Any kind of `avg_factor` divides the sum, plus mmdet's epsilon."""
    pred, target = case.sample()
    weight = case.random_weight()
    elements = case.run(case.build(reduction='none'), pred, target, weight)
    mean = case.build()
    expected = elements.sum() / (7 + EPS)
    for value in (7, 7.0, torch.tensor(7), torch.tensor(7.0),
                  torch.tensor(7.0, dtype=torch.float16),
                  torch.tensor(7.0, dtype=torch.float64), torch.tensor([7]),
                  torch.tensor([7.0])):
        got = case.run(mean, pred, target, weight, avg_factor=value)
        assert got.ndim == 0, f'avg_factor={value} gives {tuple(got.shape)}'
        _same(got, expected, f'avg_factor={value!r}')
    half = torch.tensor(0.0, dtype=torch.float16)
    for value in (0, half):
        _same(
            case.run(mean, pred, target, weight, avg_factor=value),
            elements.sum() / EPS, f'avg_factor={value!r}')
    _same(
        case.run(
            case.build(reduction='none'), pred, target, weight, avg_factor=7),
        elements, "avg_factor with 'none'")
    for call in (
            lambda: case.run(
                case.build(reduction='sum'), pred, target, avg_factor=7),
            lambda: case.run(
                mean, pred, target, avg_factor=7, reduction_override='sum'),
            lambda: case.run(mean, pred, target, avg_factor=torch.ones(2))):
        _raises(ValueError, call, "avg_factor with 'sum' or of two elements")


@contract
def weight_shapes(case: LossCase) -> None:
    """A weight is padded on the right and broadcast, never the loss."""
    pred, target = case.sample()
    loss = case.build(reduction='none')
    elements = case.run(loss, pred, target)
    shape = tuple(case.element_shape(3))
    for ndim in range(1, len(shape) + 1):
        torch.manual_seed(2)
        weight = torch.rand(shape[:ndim])
        full = weight.reshape(shape[:ndim] + (1, ) * (len(shape) - ndim))
        expected = elements * full
        for given in (weight, full, full.unsqueeze(-1), full.expand(shape),
                      weight.double()):
            got = case.run(loss, pred, target, given)
            assert got.dtype == elements.dtype, 'the weight set the dtype'
            _same(got, expected, f'weight of shape {tuple(given.shape)}')
    wrong = (shape[0] + 1, ) + shape[1:]
    text = _raises(ValueError,
                   lambda: case.run(loss, pred, target, torch.ones(wrong)),
                   f'a weight of shape {wrong}')
    assert str(wrong) in text and str(shape) in text, (
        f'the error must name {wrong} and {shape}: {text}')
    # One sample must not be multiplied into three.
    pred, target = case.sample(1)
    _raises(
        ValueError, lambda: case.run(loss, pred, target,
                                     torch.ones(case.element_shape(3))),
        'a weight of more samples than the loss')
    _raises(TypeError, lambda: case.run(loss, pred, target, [1.0]),
            'a list of weights')


@contract
def weight_is_linear(case: LossCase) -> None:
    """A weight multiplies the loss and its gradient, and no denominator."""
    pred, target = case.sample()
    weight = case.random_weight()
    elements = case.run(case.build(reduction='none'), pred, target)
    weighted = elements * weight
    for name, expected in (('none', weighted), ('sum', weighted.sum()),
                           ('mean', case.mean(weighted))):
        got = case.run(case.build(reduction=name), pred, target, weight)
        _same(got, expected, f'weighted {name}')
        for one, other in zip(
                _grads(got, pred),
                torch.autograd.grad(
                    expected.sum(), _list(pred), retain_graph=True)):
            _same(one, other, f'gradient of the weighted {name}')


@contract
def weight_zero_removes(case: LossCase) -> None:
    """Weight 0 means value 0 and gradient 0, whatever the inputs hold."""
    weight = case.random_weight()
    weight[0] = 0
    loss = case.build(reduction='none')
    pred, target = case.sample()
    clean = case.run(loss, pred, target, weight)
    clean_grads = _grads(clean, pred)
    for poison in (float('nan'), float('inf'), -float('inf'), 1e30):

        def poisoned(x: Tensor) -> Tensor:
            x = x.detach().clone()
            if x.is_floating_point():
                x[0] = poison
            return x

        for spoil_pred, spoil_target in ((1, 0), (0, 1), (1, 1)):
            bad_pred = map_tensors(poisoned, pred) if spoil_pred else pred
            bad_target = map_tensors(poisoned,
                                     target) if spoil_target else target
            bad_pred = _leaf(bad_pred)
            loss = case.build(reduction='none')
            got = case.run(loss, bad_pred, bad_target, weight)
            assert (got[0] == 0).all(), f'{poison} at weight 0 gives {got[0]}'
            _same(got, clean, f'{poison} at weight 0 changed the others')
            got.sum().backward()
            for x, expected in zip(_list(bad_pred), clean_grads):
                assert x.grad is not None
                assert (x.grad[0] == 0).all(), (
                    f'{poison} at weight 0 has the gradient {x.grad[0]}')
                _same(x.grad, expected, f'gradient beside {poison}')
            for name, parameter in loss.named_parameters():
                assert parameter.grad is not None
                assert torch.isfinite(parameter.grad).all(), (
                    f'{poison} at weight 0 spoils the gradient of {name}')


@contract
def target_weight(case: LossCase) -> None:
    """`use_target_weight` and mmpose's name of the weight."""
    pred, target = case.sample()
    weight = case.random_weight()
    loss = case.build()
    weighted = case.run(loss, pred, target, weight)
    _same(
        case.run(loss, pred, target, target_weight=weight), weighted,
        'target_weight=')
    _raises(ValueError,
            lambda: case.run(loss, pred, target, weight, target_weight=weight),
            'a weight given under both names')
    if 'use_target_weight' not in inspect.signature(case.loss).parameters:
        return
    for flag, expected in ((None, weighted), (True, weighted),
                           (False, case.run(loss, pred, target))):
        built = case.build(use_target_weight=flag)
        assert built.use_target_weight is flag
        _same(
            case.run(built, pred, target, weight), expected,
            f'use_target_weight={flag}')
    _raises(ValueError,
            lambda: case.run(case.build(use_target_weight=True), pred, target),
            'use_target_weight=True without a weight')


@contract
def dtypes(case: LossCase) -> None:
    """Half precision is computed and returned in float32, also where its
    squares overflow; float64 stays."""
    loss = case.build(reduction='none')
    for dtype in (torch.float16, torch.bfloat16):
        for scale in (1.0, case.large):
            pred, target = case.sample(dtype=dtype, scale=scale)
            expected = case.run(loss, _cast(pred, torch.float32),
                                _cast(target, torch.float32))
            got = case.run(loss, pred, target)
            assert got.dtype == torch.float32, f'{dtype} gives {got.dtype}'
            assert torch.isfinite(got).all(), f'{dtype} overflows: {got}'
            _same(got, expected, f'{dtype}', rtol=0, atol=0)
            mixed = case.run(loss, pred, _cast(target, torch.float32))
            _same(mixed, expected, f'{dtype} pred, float32 target')
            weighted = case.run(loss, pred, target,
                                case.random_weight().to(dtype))
            assert weighted.dtype == torch.float32
            for grad in _grads(got, pred):
                assert torch.isfinite(grad).all(), f'{dtype} gradient: {grad}'
    pred, target = case.sample()
    expected = case.run(loss, pred, target)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        _same(
            case.run(loss, pred, target),
            expected,
            'under autocast',
            rtol=0,
            atol=0)
    pred, target = case.sample(dtype=torch.float64)
    double = case.build(reduction='none').double()
    for got in (case.run(double, pred, target),
                case.run(double, pred, target, case.random_weight())):
        assert got.dtype == torch.float64, f'float64 gives {got.dtype}'


@contract
def nothing_to_learn(case: LossCase) -> None:
    """No sample, or no weight, gives a 0 connected to the graph."""
    for batch in (0, 3):
        for reduction in ('mean', 'sum'):
            for factor in (None, 0.0):
                if reduction == 'sum' and factor is not None:
                    continue
                loss = case.build(reduction=reduction)
                pred, target = case.sample(batch)
                weight = torch.zeros(tuple(case.element_shape(batch)))
                calls = [
                    case.run(loss, pred, target, weight, avg_factor=factor)
                ]
                if batch == 0:
                    calls.append(
                        case.run(loss, pred, target, avg_factor=factor))
                for got in calls:
                    assert got.ndim == 0 and got == 0, (
                        f'batch {batch}, {reduction}: {got}')
                    for grad in _grads(got, pred):
                        assert (grad == 0).all(), f'gradient {grad}'
                    got = case.run(loss, pred, target, weight)
                    got.backward()
                    for name, parameter in loss.named_parameters():
                        assert parameter.grad is not None, (
                            f'{name} is not connected to the graph')


@contract
def no_host_sync(case: LossCase) -> None:
    """Nothing in the call needs to know a value or makes a shape of one."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    pred, target = case.sample()
    weight, factor = case.random_weight(), torch.tensor(7.0)
    with FakeTensorMode() as mode:
        loss = case.build()
        pred = map_tensors(mode.from_tensor, pred)
        target = map_tensors(mode.from_tensor, target)
        weight = mode.from_tensor(weight)
        factor = mode.from_tensor(factor)
        for args in ((), (weight, ), (weight, factor)):
            got = case.run(loss, pred, target, *args)
            torch.autograd.grad(got, _list(pred))


@contract
def compiles(case: LossCase) -> None:
    """One graph, with the numbers of eager mode."""
    pred, target = case.sample()
    weight, factor = case.random_weight(), torch.tensor(7.0)
    for args in ((), (weight, ), (weight, factor), (weight, None, 'none')):
        torch._dynamo.reset()
        loss = case.build()
        compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
        got = case.run(compiled, pred, target, *args)
        expected = case.run(loss, pred, target, *args)
        _same(got, expected, 'compiled')
        for one, other in zip(_grads(got, pred), _grads(expected, pred)):
            _same(one, other, 'compiled gradient')


@contract
def inputs_unchanged(case: LossCase) -> None:
    """No input is modified in place."""
    pred, target = case.sample()
    pred = map_tensors(Tensor.detach, pred)
    weight, factor = case.random_weight(), torch.tensor(7.0)
    given = [*_list(pred), *_list(target), weight, factor]
    copies = [x.clone() for x in given]
    for args in ((), (weight, factor), (weight, None, 'none')):
        case.run(case.build(), pred, target, *args)
        for before, after in zip(copies, given):
            assert torch.equal(before, after), 'an input was modified'


@contract
def memory_layout(case: LossCase) -> None:
    """Strides, expanded tensors and repeated calls change nothing."""

    def strided(x: Tensor) -> Tensor:
        if not x.is_floating_point() or x.ndim == 0:
            return x
        return torch.stack([x, x + 1], dim=-1)[..., 0]

    pred, target = case.sample()
    loss = case.build(reduction='none')
    expected = case.run(loss, pred, target)
    _same(
        case.run(loss, pred, target), expected, 'called again', rtol=0, atol=0)
    _same(
        case.run(loss, map_tensors(strided, pred),
                 map_tensors(strided, target)), expected, 'not contiguous')
    one_pred, one_target = case.sample(1)

    def expanded(x: Tensor) -> Tensor:
        return x.expand(3, *x.shape[1:])

    got = case.run(loss, map_tensors(expanded, one_pred),
                   map_tensors(expanded, one_target))
    repeated = case.run(loss,
                        map_tensors(lambda x: expanded(x).clone(), one_pred),
                        map_tensors(lambda x: expanded(x).clone(), one_target))
    _same(got, repeated, 'expanded')


@contract
def clear_errors(case: LossCase) -> None:
    """Wrong shapes and dtypes raise an error that says what was got."""
    pred, target = case.sample()
    loss = case.build()

    def shorter(x: Tensor) -> Tensor:
        return x[:2]

    def single(x: Tensor) -> Tensor:
        return x[:1]

    for cut in (single, shorter):
        for args in ((map_tensors(cut,
                                  pred), target), (pred,
                                                   map_tensors(cut, target))):
            for weight in ((), (case.random_weight(), )):
                _raises(ValueError, lambda: case.run(loss, *args, *weight),
                        'different numbers of samples')
    text = _raises(
        TypeError,
        lambda: case.run(loss, map_tensors(Tensor.long, pred), target),
        'an integer prediction')
    assert 'int64' in text, f'the error must name the dtype: {text}'


@contract
def life_cycle(case: LossCase) -> None:
    """Copies, pickles, checkpoints and casts keep the loss what it is."""
    pred, target = case.sample()
    loss = case.build()
    expected = case.run(loss, pred, target)
    parameters = [name for name, _ in loss.named_parameters()]
    assert parameters == list(case.parameters), (
        f'parameters {parameters}, documented {list(case.parameters)}')
    restored = case.build()
    restored.load_state_dict(loss.state_dict())
    unpickled = pickle.loads(pickle.dumps(loss))
    for name, twin in (('deepcopy', copy.deepcopy(loss)),
                       ('pickle', unpickled), ('state_dict', restored),
                       ('cast there and back', copy.deepcopy(loss).to(
                           torch.float64).to(torch.float32))):
        _same(case.run(twin, pred, target), expected, name, rtol=0, atol=0)


@contract
def gradients(case: LossCase) -> None:
    """The gradient is that of the value, in float64."""
    if case.constant_factors:
        return
    pred, target = case.sample(2, torch.float64)
    loss = case.build(reduction='sum').double()

    def value(*tensors: Tensor) -> Tensor:
        return case.run(loss,
                        tensors if isinstance(pred, tuple) else tensors[0],
                        target)

    assert torch.autograd.gradcheck(value, tuple(_list(pred)))


@contract
def optimum(case: LossCase) -> None:
    """The perfect prediction has value and gradient 0, no other is below."""
    if case.perfect is not None:
        torch.manual_seed(1)
        pred, target = case.perfect(3)
        pred = _leaf(pred)
        got = case.run(case.build(**case.perfect_kwargs), pred, target)
        _same(got, torch.zeros(()), 'value at the optimum')
        for grad in _grads(got, pred):
            _same(grad, torch.zeros_like(grad), 'gradient at the optimum')
    if case.non_negative:
        loss = case.build(reduction='none', **case.perfect_kwargs)
        for scale in (0.1, 1.0, 10.0):
            got = case.run(loss, *case.sample(64, scale=scale))
            assert (got >= -1e-6).all(), f'negative: {got.min()}'
