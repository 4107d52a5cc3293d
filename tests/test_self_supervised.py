"""Self-supervised losses against plain loops, and their hazards."""
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import needs_dynamo
from torch.utils.checkpoint import checkpoint

from mmlosses.losses import (CAELoss, CosineSimilarityLoss,
                             CrossCorrelationLoss, PixelReconstructionLoss,
                             SwAVLoss, sinkhorn_assignments)

close = torch.testing.assert_close


@pytest.fixture(autouse=True)
def torch_seed():
    torch.manual_seed(0)


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


DISTANCES = dict(L1=abs, L2=lambda x: x * x)


@pytest.mark.parametrize('criterion', DISTANCES)
def test_patches_by_loops(criterion):
    """MAE: the mean distance of the patches of the mask."""
    pred, target = double(2, 5, 3), double(2, 5, 3).detach()
    mask = torch.tensor([[1, 0, 0, 1, 1], [0, 0, 1, 0, 0]])
    total = 0.0
    for n, patch in mask.nonzero().tolist():
        numbers = (pred[n, patch] - target[n, patch]).tolist()
        total += sum(map(DISTANCES[criterion], numbers)) / 3
    loss = PixelReconstructionLoss(criterion)
    for given in (mask, mask.bool(), mask.double()):
        got = loss(pred, target, given)
        assert got.item() == pytest.approx(total / 4, rel=1e-12)
    assert loss(
        pred, target, mask, avg_factor=8).item() == pytest.approx(total / 8)
    everything = [x for x in (pred - target).flatten().tolist()]
    assert loss(pred, target).item() == pytest.approx(
        sum(map(DISTANCES[criterion], everything)) / 30)


def test_pixels_by_loops():
    """SimMIM: a mask for all three channels."""
    pred, target = double(2, 3, 2, 4), double(2, 3, 2, 4).detach()
    mask = (torch.rand(2, 1, 2, 4) > 0.5).double()
    total = 0.0
    for n, _, y, x in mask.nonzero().tolist():
        for channel in range(3):
            where = n, channel, y, x
            total += abs(pred[where].item() - target[where].item())
    got = PixelReconstructionLoss('L1', 3)(pred, target, mask)
    assert got.item() == pytest.approx(total / mask.sum().item() / 3)


def cosine(one, other):
    dot = sum([x * y for x, y in zip(one, other)])
    return dot / math.hypot(*one) / math.hypot(*other)


def test_cosine_by_loops():
    pred, target = double(3, 4, 5), double(3, 4, 5)
    mask = torch.rand(3, 4).double()
    values = [[2 - 3 * cosine(x, y) for x, y in zip(one, other)]
              for one, other in zip(pred.tolist(), target.tolist())]
    loss = CosineSimilarityLoss(2, 3)
    close(
        loss(pred, target, reduction_override='none'),
        torch.tensor(values).double())
    expected = (torch.tensor(values) * mask).sum() / mask.sum()
    close(loss(pred, target, mask), expected)
    assert torch.autograd.gradcheck(loss, (pred, target, mask))


every_loss_with_a_mask = pytest.mark.parametrize('loss', [
    PixelReconstructionLoss('L2'),
    PixelReconstructionLoss('L1', 3),
    CosineSimilarityLoss(),
])


@every_loss_with_a_mask
def test_what_is_not_masked_may_be_anything(loss):
    pred, target = double(2, 4, 3), double(2, 4, 3).detach()
    mask = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]])
    expected = loss(pred, target, mask)
    grad, = torch.autograd.grad(expected, pred)
    broken = pred.detach().masked_fill(mask.unsqueeze(-1) == 0, math.nan)
    broken.requires_grad_()
    got = loss(broken, target, mask)
    close(got, expected)
    close(torch.autograd.grad(got, broken)[0], grad)
    assert not grad[mask == 0].any()


@every_loss_with_a_mask
def test_empty_mask(loss):
    pred, target = double(2, 4, 3), double(2, 4, 3).detach()
    got = loss(pred, target, torch.zeros(2, 4))
    assert got == 0
    assert not torch.autograd.grad(got, pred)[0].any()


@every_loss_with_a_mask
def test_weight_beside_the_mask(loss):
    """It multiplies the loss and not what divides it."""
    pred, target = double(2, 4, 3), double(2, 4, 3).detach()
    mask = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]])
    weight = torch.rand(2).double()
    each = loss(pred, target, mask, reduction_override='none')
    expected = (each * weight.unsqueeze(1)).sum() / 4
    close(loss(pred, target, mask, weight), expected / (loss.channel or 1))


@every_loss_with_a_mask
def test_misshaped_mask(loss):
    pred = double(2, 4, 3)
    with pytest.raises(ValueError, match='mask of shape .2, 3. does not'):
        loss(pred, pred, torch.ones(2, 3))
    with pytest.raises(ValueError, match='mask must not be negative'):
        loss(pred, pred, -torch.ones(2, 4))


def test_cosine_of_zeros():
    """The gradient at a zero vector is that of the dot product."""
    for dtype in (torch.float16, torch.float32):
        pred = torch.zeros(2, 4, dtype=dtype, requires_grad=True)
        loss = CosineSimilarityLoss(reduction='sum')(pred, torch.ones(2, 4))
        loss.backward()
        assert loss == 0
        close(pred.grad, torch.full((2, 4), -0.5, dtype=dtype))


def test_cross_correlation_by_loops():
    matrix = double(4, 4)
    total = 0.0
    for i, row in enumerate(matrix.tolist()):
        for j, value in enumerate(row):
            total += (1 - value)**2 if i == j else 0.3 * value**2
    loss = CrossCorrelationLoss(0.3)
    assert loss(matrix).item() == pytest.approx(total, rel=1e-12)
    close(loss(torch.stack([matrix, 0 * matrix])), loss(matrix) + 4)
    assert torch.autograd.gradcheck(loss, (matrix, ))
    weight = torch.rand(4).double()
    each = loss(matrix, reduction_override='none')
    close(loss(matrix, weight, 2.0), (each * weight[:, None]).sum() / 2)


def test_cross_correlation_leaves_the_matrix():
    """It may be a leaf, and another loss of it has the same value."""
    matrix = torch.eye(3, requires_grad=True)
    loss = CrossCorrelationLoss()
    assert loss(matrix) == loss(matrix) == 0
    assert torch.equal(matrix, torch.eye(3))
    half = torch.full((300, 300), 5.0, dtype=torch.float16)
    expected = 300 * 16 + 0.0051 * 25 * 300 * 299
    assert loss(half).item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match=r'\(D, D\), got \(3, 4\)'):
        loss(torch.zeros(3, 4))


def test_cae_by_loops():
    logits, labels = double(6, 5), torch.randint(5, (6, ))
    latent, goal = double(2, 3, 4), double(2, 3, 4)
    main = align = 0.0
    for scores, label in zip(logits.tolist(), labels.tolist()):
        norm = sum([math.exp(x) for x in scores])
        main -= math.log(math.exp(scores[label]) / norm) / 6
    for x, y in zip(latent.flatten().tolist(), goal.flatten().tolist()):
        align += 2 * (x - y)**2 / 24
    got = CAELoss(2)(logits, labels, latent, goal)
    assert isinstance(got, tuple)
    assert [x.item() for x in got] == pytest.approx([main, align], rel=1e-12)
    grads = torch.autograd.grad(
        sum(got), (logits, latent, goal), allow_unused=True)
    close(grads[1], 4 * (latent - goal) / 24)
    assert grads[2] is None  # a teacher does not learn
    # A weight is that of a patch in both terms.
    weight = torch.rand(6).double()
    each = CAELoss(2, reduction='none')(logits, labels, latent, goal)
    for one, term in zip(
            CAELoss(2)(logits, labels, latent, goal, weight), each):
        close(one, (term * weight).mean())


def test_cae_of_no_patch():
    logits, latent = double(0, 5), double(2, 0, 4)
    got = CAELoss(2)(logits, torch.zeros(0).long(), latent, latent.detach())
    assert got[0] == got[1] == 0
    sum(got).backward()


@pytest.mark.parametrize('logits, labels, latent, words', [
    ((6, 5, 1), (6, ), (2, 3, 4), r'\(M, K\), got \(6, 5, 1\)'),
    ((6, 5), (5, ), (2, 3, 4), r'\(6,\), got \(5,\)'),
    ((6, 5), (6, ), (2, 4, 4), r'6 logits, got the shape \(2, 4, 4\)'),
])
def test_cae_refuses(logits, labels, latent, words):
    with pytest.raises(ValueError, match=words):
        CAELoss(2)(torch.zeros(logits), torch.zeros(labels).long(),
                   torch.zeros(latent), torch.zeros(latent))


def sinkhorn_by_loops(scores, epsilon, iterations):
    """Rows and columns of the matrix of exponentials, in turn."""
    share = [[math.exp(x / epsilon) for x in row] for row in scores.tolist()]
    samples, prototypes = len(share), len(share[0])
    for _ in range(iterations):
        for k in range(prototypes):
            total = sum([row[k] for row in share])
            for row in share:
                row[k] /= total * prototypes
        for row in share:
            total = sum(row)
            row[:] = [x / total for x in row]
    assert len(share) == samples
    return torch.tensor(share, dtype=torch.float64)


@pytest.mark.parametrize('iterations', [1, 3, 50])
def test_sinkhorn_by_loops(iterations):
    scores = double(6, 4).detach()
    kept = torch.ones(6, dtype=torch.bool)
    got = sinkhorn_assignments(scores, kept, 0.5, iterations)
    close(got, sinkhorn_by_loops(scores, 0.5, iterations))
    close(got.sum(dim=1), torch.ones(6).double())
    if iterations == 50:
        close(got.sum(dim=0), torch.full((4, ), 1.5).double())


def test_sinkhorn_of_any_scores():
    """Some overflow, others have no share in single precision."""
    scores = torch.tensor([[1e4, 0, -1e4], [1e4, 0, -1e4], [0, 1e4, -1e4]])
    got = sinkhorn_assignments(scores, torch.ones(3).bool())
    assert got.isfinite().all()
    close(got.sum(dim=1), torch.ones(3))


def test_sinkhorn_leaves_samples_out():
    scores = double(6, 4).detach()
    kept = torch.tensor([True, False, True, True, False, True])
    got = sinkhorn_assignments(scores, kept)
    close(got[kept], sinkhorn_by_loops(scores[kept], 0.05, 3))
    assert not got[~kept].any()
    assert not sinkhorn_assignments(scores, torch.zeros(6).bool()).any()


SIZES = dict(feat_dim=4, num_crops=[2, 1], num_prototypes=5)


def features(images=3, views=3, size=4):
    x = F.normalize(torch.randn(views * images, size, dtype=torch.float64))
    return x.requires_grad_()


def swav_by_loops(x, prototypes, loss, views):
    """For each assigned view, the cross entropies of all others."""
    images, total = len(x) // views, 0.0
    prototypes = F.normalize(prototypes)
    for view in loss.crops_for_assign:
        scores = (x @ prototypes.T)[view * images:(view + 1) * images]
        target = sinkhorn_by_loops(scores, loss.epsilon,
                                   loss.sinkhorn_iterations)
        for other in set(range(views)) - {view}:
            for n in range(images):
                score = [
                    math.exp(
                        (x[other * images + n] @ c).item() / loss.temperature)
                    for c in prototypes
                ]
                for k, share in enumerate(score):
                    total -= target[n, k].item() * math.log(share / sum(score))
    return total / images / len(loss.crops_for_assign) / (views - 1)


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(crops_for_assign=[1]),
    dict(epsilon=0.2, temperature=0.3, sinkhorn_iterations=5),
])
def test_swav_by_loops(kwargs):
    loss, x = SwAVLoss(**SIZES, **kwargs).double(), features()
    start = loss.prototypes.weight.detach().clone()
    got = loss(x)
    expected = swav_by_loops(x, start, loss, 3)
    assert got.item() == pytest.approx(expected, rel=1e-9)
    # It is that of normalised prototypes, which training keeps.
    close(loss.prototypes.weight.norm(dim=1), torch.ones(5).double())
    close(loss.eval()(x), got)


def test_gradient_of_swav():
    """That of the cross entropy, with the assignments held."""
    loss, x = SwAVLoss(**SIZES).double(), features()
    got = torch.autograd.grad(loss(x), (x, loss.prototypes.weight))
    held, weight = loss.prototypes.weight.detach(), double(5, 4)
    weight.data.copy_(held)
    log_prob = (x @ weight.T / 0.1).log_softmax(dim=1).unflatten(0, (3, 3))
    total = 0.0
    for view in (0, 1):
        target = sinkhorn_by_loops((x @ held.T)[3 * view:3 * view + 3], 0.05,
                                   3)
        others = [log_prob[v] for v in range(3) if v != view]
        total = total - sum([(target * p).sum() for p in others]) / 12
    close(got, torch.autograd.grad(total, (x, weight)))


def test_several_sets_of_prototypes():
    """Stock has them, and fails in a call: the mean of both."""
    loss = SwAVLoss(4, num_prototypes=[5, 7], num_crops=[2, 1]).double()
    names = ['prototypes.prototypes0.weight', 'prototypes.prototypes1.weight']
    assert list(loss.state_dict()) == names
    x, parts = features(), []
    for number, name in zip((5, 7), names):
        one = SwAVLoss(4, num_prototypes=number, num_crops=[2, 1]).double()
        one.prototypes.weight.data.copy_(loss.state_dict()[name])
        parts.append(one(x))
    close(loss(x), sum(parts) / 2)


def queue_of(loss, length=6):
    return torch.zeros(len(loss.crops_for_assign), length, 4).double()


def test_queue_takes_part_once_it_is_full():
    loss = SwAVLoss(**SIZES).double()
    loss.queue = queue_of(loss)
    plain = copy.deepcopy(loss)
    plain.queue = None
    batches = [features() for _ in range(4)]
    for step, x in enumerate(batches):
        got, alone = loss(x), plain(x)
        if step < 2:
            close(got, alone)
    assert got != alone
    for view in (0, 1):  # the newest first
        rows = [x[3 * view:3 * view + 3] for x in batches[:1:-1]]
        close(loss.queue[view], torch.cat(rows).detach())
    # As with one larger batch, of which only the new images count.
    loss.queue = queue_of(loss)
    loss.use_queue = True
    loss.queue[:] = torch.stack([
        torch.cat([x[3 * v:3 * v + 3] for x in batches[:2]]) for v in (0, 1)
    ]).detach()
    x, whole = batches[2], torch.cat(
        [x.unflatten(0, (3, 3)) for x in (*batches[:2], batches[2])], dim=1)
    each = plain(whole.flatten(0, 1), reduction_override='none')
    close(loss(x, reduction_override='none'), each[-3:])


def test_queue_of_zeros_with_use_queue():
    """The hook's flag, which stock sets itself."""
    loss = SwAVLoss(**SIZES).double()
    x, alone = features(), loss(features())
    alone = loss(x)
    loss.queue, loss.use_queue = queue_of(loss), True
    assert loss(x) != alone


def test_validation_moves_nothing():
    loss = SwAVLoss(**SIZES).double()
    loss.queue = queue_of(loss)
    before = copy.deepcopy(loss.state_dict()), loss.queue.clone()
    loss.eval()(features())
    close((loss.state_dict(), loss.queue), before, rtol=0, atol=0)


def test_two_calls_before_the_backward_pass():
    loss, x = SwAVLoss(**SIZES).double(), features()
    one = loss(x)
    loss.prototypes.weight.data.mul_(2)
    (one + loss(x)).backward()
    assert x.grad.isfinite().all()


def test_checkpoint_with_a_queue():
    """The repeated call sees the queue of the first, and does not move it."""
    loss, x = SwAVLoss(**SIZES).double(), features()
    loss.queue = F.normalize(torch.randn(2, 6, 4).double(), dim=-1)
    other = copy.deepcopy(loss)
    expected, = torch.autograd.grad(loss(x), x)
    checkpoint(other, x, use_reentrant=False).backward()
    close(x.grad, expected)
    close(other.queue, loss.queue)


def test_an_image_of_weight_0_is_in_no_assignment():
    loss, x = SwAVLoss(**SIZES).double(), features(4)
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0])
    kept = x.unflatten(0, (3, 4))[:, weight > 0].flatten(0, 1)
    got = loss(x, weight, reduction_override='none')
    expected = loss(kept, reduction_override='none')
    close(got[weight > 0], expected)
    assert got[1] == 0


def test_swav_in_half_precision():
    """Scores of 1 are exp(20) in the assignment, above float16's largest."""
    loss, x = SwAVLoss(**SIZES), features().detach()
    got = loss(x.half())
    assert got.dtype == torch.float32 and got.isfinite()
    close(got, loss(x.half().float()))
    assert loss(1000 * x.half()).isfinite()


def test_swav_with_a_queue_needs_no_value_on_the_host():
    from torch._subclasses.fake_tensor import FakeTensorMode
    with FakeTensorMode():
        loss = SwAVLoss(**SIZES)
        loss.queue = torch.zeros(2, 6, 4)
        x = torch.randn(9, 4, requires_grad=True)
        for _ in range(2):
            loss(x).backward()


@pytest.mark.slow
def test_swav_compiles_in_training():
    """One graph, which normalises prototypes and moves the queue."""
    needs_dynamo()
    loss = SwAVLoss(**SIZES).double()
    loss.queue = F.normalize(torch.randn(2, 6, 4).double(), dim=-1)
    eager = copy.deepcopy(loss)
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    for _ in range(2):
        x = features()
        results = []
        for call, own in ((compiled, loss), (eager, eager)):
            value = call(x)
            weight = own.prototypes.weight
            results.append((value, *torch.autograd.grad(value, (x, weight))))
        close(*results)
        close(loss.queue, eager.queue)
        close(loss.state_dict(), eager.state_dict())


@pytest.mark.parametrize('kwargs, words', [
    (dict(num_crops=[1]), 'num_crops must add up to at least 2'),
    (dict(num_crops=[]), 'num_crops must be a list of integers from 1'),
    (dict(crops_for_assign=[0, 3]), 'crops_for_assign .* from 0 to 2, got'),
    (dict(num_prototypes=[]), 'num_prototypes must be a list'),
    (dict(num_prototypes=0), 'num_prototypes must be a positive integer'),
    (dict(epsilon=0), 'epsilon must be positive, got 0'),
])
def test_swav_refuses_arguments(kwargs, words):
    with pytest.raises(ValueError, match=words):
        SwAVLoss(**{**SIZES, **kwargs})


def test_swav_refuses_inputs():
    loss = SwAVLoss(**SIZES)
    for shape in ((8, 4), (9, 5), (9, ), ()):
        with pytest.raises(ValueError, match='V = 3 views and feat_dim=4'):
            loss(torch.zeros(shape))
    loss.queue = torch.zeros(1, 6, 4)
    with pytest.raises(ValueError, match=r'queue must have .*\(1, 6, 4\)'):
        loss(torch.zeros(9, 4))
