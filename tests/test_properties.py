"""Properties of every loss, for any arguments.

Hypothesis draws the arguments of the loss, the batch, its dtype and values,
the weight and the reduction. ``--hypothesis-profile=thorough`` runs many more
examples.
"""
import dataclasses
import functools
from typing import Any, Callable, List

import pytest
import torch
from cases import CASES
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmlosses import losses
from mmlosses.core.reduction import EPS
from mmlosses.core.tensors import compute_dtype, map_tensors
from mmlosses.losses import BaseLoss
from mmlosses.testing import LossCase

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Dtypes precise enough to compare two computations.
EXACT_DTYPES = DTYPES[2:]
WEIGHT_DTYPES = (*DTYPES, torch.int64, torch.bool)
REDUCTIONS = ('mean', 'sum', 'none')

# Built once: stateless in evaluation mode, and seeding is slow.
LOSSES = {}


def build(case, kwargs, dtype=torch.float32):
    key = case.loss, repr(kwargs), dtype
    if key not in LOSSES:
        LOSSES[key] = case.build(**kwargs).eval().to(dtype)
    return LOSSES[key]


def arguments(case, exclude):
    """The arguments of a loss, with at most one non-default."""
    both = [kwargs for pair in case.arguments.values() for kwargs in pair]
    return [
        kwargs for kwargs in [{}, *both] if not exclude(build(case, kwargs))
    ]


def no_exclusion(loss):
    """No exceptions: the property holds for all losses."""
    return None


def drawn(exclude=no_exclusion, cases=CASES):
    """Run a test with a sixteenth of the usual examples."""
    few = settings(
        max_examples=max(settings.default.max_examples // 16, 1),
        deadline=None)

    def decorate(test):
        return pytest.mark.parametrize(
            'case', [case for case in cases if arguments(case, exclude)],
            ids=lambda case: case.loss.__name__)(
                few(given(data=st.data())(test)))

    return decorate


# The reasons why a formula lacks a property.


def couples_samples(loss):
    """Why the loss of a sample depends on the rest of the batch."""
    if isinstance(loss, losses.BalancedBCELoss):
        return 'negatives are mined among those of the whole batch'
    if isinstance(loss, losses.CornerNetLoss):
        return 'divides by the peaks and the objects of the batch'
    if isinstance(loss, losses.DiceLoss) and loss.batch:
        return 'the sums of the overlap go over the batch'
    if isinstance(loss, (losses.GHMC, losses.GHMR)):
        return 'counts the similar gradients of the batch'
    if isinstance(loss, losses.SeesawLoss):
        return 'counts the classes of the batch'
    if isinstance(loss, losses.LovaszLoss) and not loss.per_image:
        return 'takes the maps of the batch for one'
    if isinstance(loss, losses.OhemCrossEntropy):
        return 'pixels are mined among those of the whole batch'
    if isinstance(loss, losses.BoundaryLoss):
        return 'counts the edges of the batch'
    if isinstance(loss, (losses.TripletLoss, losses.InfoNCELoss)):
        return 'compares the samples of the batch'
    if isinstance(loss, losses.MarginL2Loss) and loss.neg_pos_ub > 0:
        return 'negatives are mined among those of the whole batch'
    if isinstance(loss, losses.SwAVLoss):
        return 'shares the prototypes among the images of the batch'
    if isinstance(loss, (losses.BoneLoss, losses.SemiSupervisionLoss)):
        return 'compares the mean lengths of bones over the batch'
    if isinstance(loss, losses.MultiBinLoss):
        return 'divides by the bins that the angles of the batch are in'
    return None


def mean_grows_with_batch(loss):
    """Why repeating each sample changes the mean."""
    if isinstance(loss,
                  (losses.AssociativeEmbeddingLoss, losses.CornerNetLoss)):
        return 'adds the pull and push of the images, as CornerNet does'
    if isinstance(loss, losses.InfoNCELoss):
        return "adds the features, as mmpose's CID expects"
    if isinstance(loss, losses.CrossCorrelationLoss):
        return 'adds the entries of the matrix, as its paper does'
    if isinstance(loss, losses.TripletLoss) and not loss.hard_mining:
        return 'the copy of a sample is one more positive'
    if not getattr(loss, 'size_average', True):
        return 'adds the samples, as mmpose 1.x does'
    if isinstance(loss, losses.BalancedBCELoss):
        if isinstance(loss.fallback, int):
            return 'keeps a number of negatives that does not grow'
        if loss.eps:
            return 'adds eps once to the number of kept elements'
    if isinstance(loss, losses.DiceLoss) and loss.batch:
        return 'adds eps once to the sums over the batch'
    if isinstance(loss, losses.OhemCrossEntropy):
        return 'keeps a number of pixels that does not grow'
    if isinstance(loss, losses.SeesawLoss):
        return 'counts a class without samples as one sample'
    return None


def may_be_negative(loss):
    """Why the loss may be negative."""
    if isinstance(loss, losses.PROPELLoss) and loss.compat is not None:
        return 'torchpropel takes the target for one-dimensional'
    if isinstance(loss, losses.IoULoss) and loss.eps > 1:
        return 'no IoU is above 1, the least that it is then taken for'
    if isinstance(loss, losses.CosineSimilarityLoss):
        return 'the negative cosine of similar features'
    if isinstance(loss, losses.MLECCLoss):
        return 'a likelihood may exceed 1'
    return None


def target_has_no_gradient(loss):
    """Why the target gradient need not be finite."""
    if isinstance(loss, losses.BalancedBCELoss) and not loss.use_sigmoid:
        return "torch's own, log(1 - p) - log p, is infinite for p = 0 and 1"
    teachers = (losses.KDLoss, losses.CAELoss, losses.KLDivLoss,
                losses.ChannelWiseDivergence,
                losses.KnowledgeDistillationKLDivLoss)
    if isinstance(loss, teachers):
        return 'a teacher does not learn'
    return None


def takes_any_target(loss):
    """True if targets are unbounded."""
    regression = (losses.L1Loss, losses.MSELoss, losses.SmoothL1Loss,
                  losses.AngularLoss, losses.PROPELLoss, losses.WingLoss,
                  losses.SoftWingLoss, losses.MPJPELoss)
    return isinstance(loss, regression) or hasattr(loss, 'box_loss')


@dataclasses.dataclass
class Call:
    """A loss and the arguments of a call."""
    case: LossCase = dataclasses.field(repr=False)
    kwargs: dict
    dtype: torch.dtype
    pred: Any
    target: Any

    @property
    def loss(self) -> BaseLoss:
        return build(self.case, self.kwargs, compute_dtype(self.dtype))

    def __call__(self, *args, reduction='none', **kwargs):
        pred = kwargs.pop('pred', self.pred)
        target = kwargs.pop('target', self.target)
        return self.case.run(
            self.loss,
            pred,
            target,
            *args,
            reduction_override=reduction,
            **kwargs)

    @property
    def batch(self):
        return len(as_list(self.pred)[0])

    @functools.cached_property
    def shape(self):
        """Shape of the unreduced loss, which arguments may change."""
        with torch.no_grad():
            return tuple(self().shape)


def seed_with(number):
    """A fast ``torch.manual_seed``."""
    torch.default_generator.manual_seed(number)


def as_list(tensors) -> List[torch.Tensor]:
    return list(tensors) if isinstance(tensors, (tuple, list)) else [tensors]


def floating(tensors) -> List[torch.Tensor]:
    return [x for x in as_list(tensors) if x.is_floating_point()]


def gradients(value, tensors):
    """The gradients of a value, 0 for unused tensors."""
    got = torch.autograd.grad(value.sum(), tensors, allow_unused=True)
    return [
        torch.zeros_like(x) if grad is None else grad
        for x, grad in zip(tensors, got)
    ]


def map_floats(function: Callable, tensors):
    return map_tensors(lambda x: function(x)
                       if x.is_floating_point() else x, tensors)


def leaf(tensors):
    return map_floats(lambda x: x.detach().clone().requires_grad_(), tensors)


def assert_same(got, expected, exact=False, rtol=None):
    """Compare up to rounding of the dtype, or exactly."""
    double = got.dtype == torch.float64
    rtol = rtol or (1e-9 if double else 1e-4)
    if exact:
        # Half precision may be unable to hold a gradient.
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
        return
    # Cancellation: small values are differences of large ones.
    atol = rtol * max(1.0, float(
        expected.detach().abs().max())) if expected.numel() else 0
    torch.testing.assert_close(got, expected, rtol=rtol, atol=atol)


@st.composite
def calls(draw,
          case,
          dtypes=DTYPES,
          exclude=no_exclusion,
          least=0,
          extreme=False,
          **kwargs):
    """A call of a loss with at most one non-default argument."""
    kwargs = {**draw(st.sampled_from(arguments(case, exclude))), **kwargs}
    dtype = draw(st.sampled_from(dtypes))
    batch = draw(st.integers(least, 7))
    scale = draw(st.sampled_from([1.0, 0.01, 5.0, 300.0]))
    seed = draw(st.integers(0, 2**16))
    seed_with(seed)
    pred, target = case.inputs(batch)
    loss = build(case, kwargs)
    seed_with(seed + 1)
    numbers = draw(st.lists(extremes, max_size=3)) if extreme else []

    def disturb(x):
        for number in numbers:
            chosen = torch.rand_like(x) < 0.3
            x = torch.where(chosen, torch.full_like(x, number), x)
        return x

    pred = map_tensors(lambda x: disturb(x * scale), pred)
    if loss.takes_probabilities:
        pred = map_tensors(torch.sigmoid, pred)
    elif takes_any_target(loss):
        target = map_tensors(disturb, target)
        if hasattr(loss, 'box_loss'):  # it refuses swapped corners
            target = target.unflatten(-1, (2, 2)).sort(dim=-2).values
            target = target.flatten(-2)
    limit = min(torch.finfo(dtype).max, torch.finfo(torch.float32).max)
    pred, target = [
        map_floats(lambda x: x.detach().clamp(-limit, limit).to(dtype), x)
        for x in (pred, target)
    ]
    return Call(case, kwargs, dtype, pred, target)


# Representable in half precision, with a finite square.
extremes = st.one_of(
    st.floats(width=16, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, 1e-7, 1e-20, 1e-38, 1e9, -1e9]))


@st.composite
def weights(draw, shape, least=0.0, dtypes=WEIGHT_DTYPES):
    """A weight of any broadcastable shape, and the same expanded."""
    axes = list(shape[:draw(st.integers(0, len(shape)))])
    axes = [size if draw(st.booleans()) else 1 for size in axes]
    axes += [1] * draw(st.integers(0, 2))
    seed_with(draw(st.integers(0, 2**16)))
    weight = least + 2 * torch.rand(axes)
    if least == 0:
        weight = weight * (torch.rand(axes) < 0.7)
    weight = weight.to(draw(st.sampled_from(dtypes)))
    full = weight.reshape(axes[:len(shape)] + [1] * (len(shape) - len(axes)))
    return weight, full.expand(shape)


def factors(number):
    """Every kind of ``avg_factor``."""
    kinds = [number, float(number)]
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64,
                  torch.int32, torch.int64):
        one = torch.tensor(number, dtype=dtype)
        kinds += [one, one.reshape(1)]
    return st.sampled_from(kinds)


@drawn()
def test_weight_multiplies_the_elements(case, data):
    """Of any shape and dtype; so does its gradient; 0 removes."""
    call = data.draw(calls(case, EXACT_DTYPES))
    selects = case.selects or couples_samples(call.loss)
    least = 0.1 if selects else 0.0
    dtypes = DTYPES if least else WEIGHT_DTYPES
    weight, full = data.draw(weights(call.shape, least, dtypes))
    pred = leaf(call.pred)
    elements, got = call(pred=pred), call(weight, pred=pred)
    assert elements.shape == got.shape == call.shape
    expected = elements * full.to(elements.dtype)
    assert_same(got, expected)
    for one, other in zip(
            gradients(got, as_list(pred)), gradients(expected, as_list(pred))):
        assert_same(one, other)
    assert_same(call(weight, pred=pred, reduction='sum'), expected.sum())


@drawn()
def test_linear_in_the_weight(case, data):
    """For every reduction, if no weight is 0."""
    call = data.draw(calls(case, EXACT_DTYPES))
    reduction = data.draw(st.sampled_from(REDUCTIONS))
    (_, one), (_, other) = [
        data.draw(weights(call.shape, 0.1, [call.dtype])) for _ in range(2)
    ]
    pred = leaf(call.pred)
    got = call(2 * one + 3 * other, pred=pred, reduction=reduction)
    expected = (2 * call(one, pred=pred, reduction=reduction) +
                3 * call(other, pred=pred, reduction=reduction))
    assert_same(got, expected)
    for a, b in zip(
            gradients(got, as_list(pred)), gradients(expected, as_list(pred))):
        assert_same(a, b)


@drawn()
def test_permutation_equivariance(case, data):
    """Elements and gradients are permuted, the mean is unchanged."""
    call = data.draw(calls(case, EXACT_DTYPES, least=2))
    order = torch.tensor(data.draw(st.permutations(range(call.batch))))
    weight, full = data.draw(weights(call.shape, 0.1, [call.dtype]))
    pred = leaf(call.pred)
    moved, target = [
        map_tensors(lambda x: x.detach()[order], x)
        for x in (call.pred, call.target)
    ]
    moved = leaf(moved)
    elements = call(full, pred=pred)
    got = call(full[order], pred=moved, target=target)
    assert_same(got, elements[order])
    for one, other in zip(
            gradients(got, as_list(moved)), gradients(elements,
                                                      as_list(pred))):
        assert_same(one, other[order])
    assert_same(
        call(full[order], pred=moved, target=target, reduction='mean'),
        call(full, pred=pred, reduction='mean'))


@drawn(exclude=mean_grows_with_batch)
def test_mean_of_a_repeated_batch(case, data):
    call = data.draw(calls(case, EXACT_DTYPES, mean_grows_with_batch, least=1))
    times = data.draw(st.integers(2, 3))
    _, weight = data.draw(weights(call.shape, 0.1, [call.dtype]))
    pred, target = [
        map_tensors(lambda x: torch.cat([x] * times), x)
        for x in (call.pred, call.target)
    ]
    got = call(
        torch.cat([weight] * times),
        pred=pred,
        target=target,
        reduction='mean')
    # mmdet adds an epsilon to the number of non-ignored elements.
    assert_same(
        got,
        call(weight, reduction='mean'),
        rtol=1e-4 if got.dtype == torch.float32 else EPS)


@drawn(exclude=couples_samples)
def test_samples_are_independent(case, data):
    """An element does not depend on the other samples."""
    call = data.draw(calls(case, EXACT_DTYPES, couples_samples, least=1))
    elements = call()
    for i in range(call.batch):
        pred, target = [
            map_tensors(lambda x: x[i:i + 1], x)
            for x in (call.pred, call.target)
        ]
        assert_same(call(pred=pred, target=target), elements[i:i + 1])


@drawn(may_be_negative, [case for case in CASES if case.non_negative])
def test_never_negative(case, data):
    call = data.draw(
        calls(
            case, exclude=may_be_negative, extreme=True,
            **case.perfect_kwargs))
    got = call()
    # Rounding of subtracted values up to 1.
    assert (got >= -1e-6).all(), got


@drawn(cases=[case for case in CASES if case.perfect])
def test_zero_at_the_optimum(case, data):
    seed_with(data.draw(st.integers(0, 2**16)))
    pred, target = case.perfect(data.draw(st.integers(0, 7)))
    dtype = data.draw(st.sampled_from(EXACT_DTYPES))
    pred, target = [
        map_floats(lambda x: x.detach().to(dtype), x) for x in (pred, target)
    ]
    call = Call(case, case.perfect_kwargs, dtype, leaf(pred), target)
    got = call()
    assert (got.abs() < 1e-6).all(), got
    for grad in gradients(got, as_list(call.pred)):
        assert (grad.abs() < 1e-5).all(), grad


@drawn()
def test_value_and_gradients_are_finite(case, data):
    """Value and gradients, for any prediction and weight."""
    call = data.draw(calls(case, extreme=True))
    reduction = data.draw(st.sampled_from(REDUCTIONS))
    # Half-precision values, whose gradients may exceed its range.
    dtype = compute_dtype(call.dtype)
    weight, _ = data.draw(weights(call.shape, dtypes=[dtype]))
    pred, target = [
        leaf(map_floats(lambda x: x.to(dtype), x))
        for x in (call.pred, call.target)
    ]
    tensors = [*as_list(pred), *call.loss.parameters()]
    if not target_has_no_gradient(call.loss):
        tensors += floating(target)
    tensors.append(weight.requires_grad_())
    got = call(weight, pred=pred, target=target, reduction=reduction)
    assert got.isfinite().all(), got
    for grad in gradients(got, tensors):
        assert grad.isfinite().all(), grad
    if call.batch == 0 and reduction != 'none':
        assert got == 0


@drawn()
def test_half_precision_is_computed_in_float32(case, data):
    """Bit-exact, also under autocast; float64 is kept."""
    call = data.draw(calls(case))
    dtype = compute_dtype(call.dtype)
    pred, target = [
        map_floats(lambda x: x.to(dtype), x) for x in (call.pred, call.target)
    ]
    expected = call(pred=pred, target=target)
    with torch.autocast(
            'cpu', dtype=torch.bfloat16, enabled=data.draw(st.booleans())):
        got = call()
    assert got.dtype == dtype
    assert_same(got, expected, exact=True)


@drawn()
def test_any_kind_of_avg_factor(case, data):
    call = data.draw(calls(case))
    weight, _ = data.draw(weights(call.shape))
    number = data.draw(st.integers(0, 100))
    factor = data.draw(factors(number))
    got = call(weight, factor, reduction='mean')
    assert got.ndim == 0
    if case.own_divisor:
        assert_same(got, call(weight, reduction='mean'))
    else:
        assert_same(got, call(weight, reduction='sum') / (number + EPS))


@drawn()
def test_calls_are_deterministic_and_pure(case, data):
    call = data.draw(calls(case, extreme=True))
    weight, _ = data.draw(weights(call.shape))
    number = data.draw(st.integers(1, 100))
    factor = data.draw(factors(number))
    reduction = data.draw(st.sampled_from(['mean', 'none']))
    pred = leaf(call.pred)
    given = [*as_list(pred), *as_list(call.target), weight]
    if isinstance(factor, torch.Tensor):
        given.append(factor)
    before = [x.detach().clone() for x in given]
    results = []
    for _ in range(2):
        got = call(weight, factor, pred=pred, reduction=reduction)
        results.append([got, *gradients(got, as_list(pred))])
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    for one, other in zip(before, given):
        assert torch.equal(one, other.detach()), 'an input was modified'


def fill_removed(tensors, removed, number):
    """Fill removed elements with a value, and their labels out of range."""

    def poisoned(x):
        x = x.detach().clone()
        if x.shape[:removed.ndim] != removed.shape or x.dtype == torch.bool:
            return x
        x[removed] = number if x.is_floating_point() else -1000
        return x

    return map_tensors(poisoned, tensors)


@drawn()
def test_weight_zero_removes_anything(case, data):
    """NaN, infinity and labels out of range."""
    call = data.draw(calls(case, least=1))
    # Parts of a sample, if they are leading axes of the prediction.
    ndim = 1
    lead = [
        x.shape[:len(call.shape)] == call.shape for x in as_list(call.pred)
    ]
    if all(lead) and not hasattr(call.loss, 'dim'):
        most = len(call.shape) - case.joined_axis
        ndim = data.draw(st.integers(1, most))
    seed_with(data.draw(st.integers(0, 2**16)))
    removed = torch.rand(call.shape[:ndim]) < 0.5
    weight = torch.rand(call.shape[:ndim]).add(0.1).masked_fill(removed, 0)
    number = data.draw(
        st.sampled_from([float('nan'),
                         float('inf'), -float('inf')]))
    pred, bad_pred = leaf(call.pred), call.pred
    target = call.target
    places = ['pred'] if case.counts_targets else ['pred', 'target', 'both']
    which = data.draw(st.sampled_from(places))
    if which != 'target':
        bad_pred = fill_removed(call.pred, removed, number)
    if which != 'pred':
        target = fill_removed(call.target, removed, number)
    bad_pred = leaf(bad_pred)
    expected = call(weight, pred=pred)
    got = call(weight, pred=bad_pred, target=target)
    assert (got[removed] == 0).all()
    assert_same(got, expected, exact=True)
    for one, other in zip(
            gradients(got, as_list(bad_pred)),
            gradients(expected, as_list(pred))):
        assert_same(one, other, exact=True)


def interleaved(x):
    return torch.stack([x, x], dim=-1)[..., 0]


def transposed(x):
    return x.transpose(0, -1).contiguous().transpose(0, -1)


def shifted(x):
    return torch.cat([x.flatten()[:1], x.flatten()])[-x.numel():].reshape(
        x.shape) if x.numel() else x


def expanded(x):
    return x[:1].expand(x.shape)


LAYOUTS = [interleaved, transposed, shifted, expanded]


@drawn()
def test_any_memory_layout(case, data):
    call = data.draw(calls(case))
    _, weight = data.draw(weights(call.shape, dtypes=[torch.float32]))

    def lay(x):
        return data.draw(st.sampled_from(LAYOUTS))(x.detach())

    pred, target = map_tensors(lay, call.pred), map_tensors(lay, call.target)
    pred = map_tensors(torch.Tensor.requires_grad_, pred)
    plain = leaf(map_tensors(torch.Tensor.contiguous, pred))
    got = call(weight, pred=pred, target=target)
    expected = call(
        weight.contiguous(),
        pred=plain,
        target=map_tensors(torch.Tensor.contiguous, target))
    assert_same(got, expected)
    rtol = {torch.float16: 1e-2, torch.bfloat16: 1e-1}.get(call.dtype)
    for one, other in zip(
            gradients(got, as_list(pred)), gradients(expected,
                                                     as_list(plain))):
        assert_same(one, other, rtol=rtol)


@drawn(exclude=target_has_no_gradient)
def test_any_inputs_require_grad(case, data):
    """Value and gradients do not depend on which inputs require grad."""
    call = data.draw(calls(case, EXACT_DTYPES, target_has_no_gradient))
    weight, _ = data.draw(weights(call.shape, 0.1, [call.dtype]))
    reduction = data.draw(st.sampled_from(REDUCTIONS))

    def run(asked):
        inputs = [
            leaf(x) if ask else x
            for x, ask in zip((call.pred, call.target, weight), asked)
        ]
        pred, target, given = inputs
        got = call(given, pred=pred, target=target, reduction=reduction)
        leaves = [floating(x) if ask else [] for x, ask in zip(inputs, asked)]
        flat = [x for each in leaves for x in each]
        grads = iter(gradients(got, flat) if flat else [])
        return got, [[next(grads) for _ in each] for each in leaves]

    expected, all_grads = run((True, True, True))
    asked = tuple([data.draw(st.booleans()) for _ in range(3)])
    got, grads = run(asked)
    assert_same(got, expected)
    for ask, some, every in zip(asked, grads, all_grads):
        for one, other in zip(some, every):
            assert_same(one, other)


@drawn()
def test_misshaped_weight_is_refused(case, data):
    call = data.draw(calls(case, least=1))
    shape = data.draw(
        st.lists(st.integers(0, 8), min_size=1, max_size=4).map(tuple))
    padded = shape
    while len(padded) > len(call.shape) and padded[-1] == 1:
        padded = padded[:-1]
    fits = len(padded) <= len(call.shape) and all(
        [a in (1, b) for a, b in zip(padded, call.shape)])
    assume(not fits)
    # Shapes that only some heads pass.
    assume(shape[:-1] != tuple(call.shape) or shape[-1] not in (4, 5, 7))
    assume(not (
        len(shape) == 1 and shape[0] == torch.Size(call.shape).numel()))
    assume(not (hasattr(call.loss, 'dim') and len(shape) == len(call.shape) +
                1))
    # One for each joint, of which some have no bone.
    joints = len(getattr(call.loss, 'joint_parents', ()))
    assume(shape[1:2] != (joints, ))
    # One for each keypoint, of one or of all objects.
    if isinstance(call.loss, losses.OKSLoss):
        keypoints = call.pred.shape[-2]
        assume(shape[len(call.shape):] not in ((keypoints, ), (keypoints, 1)))
    with pytest.raises(ValueError, match='weight'):
        call(torch.ones(shape))
