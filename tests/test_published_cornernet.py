"""``AELoss`` of CornerNet's code, against its formulas as plain loops."""
import math

import pytest
import torch

from mmlosses.losses import (AELoss, CornerNetLoss, associative_embedding_loss,
                             corner_offset_loss, neg_loss)

BATCH, CLASSES, SIZE, OBJECTS = 3, 2, 6, 5


def focal_by_loops(preds, gt):
    """``_neg_loss`` of plain lists."""
    total = 0.0
    peaks = sum([t == 1 for t in gt])
    for pred in preds:
        for p, t in zip(pred, gt):
            if t == 1:
                total -= math.log(p) * (1 - p)**2 / max(peaks, 1)
            else:
                total -= (math.log(1 - p) * p**2 * (1 - t)**4 / max(peaks, 1))
    return total


def groups_by_loops(tag0, tag1, mask):
    """``_ae_loss``, without pairs of an object with itself."""
    pull = push = 0.0
    for b in range(len(mask)):
        objects = [k for k in range(OBJECTS) if mask[b][k]]
        number = len(objects)
        centre = {k: (tag0[b][k][0] + tag1[b][k][0]) / 2 for k in objects}
        for k in objects:
            for tag in (tag0, tag1):
                pull += (tag[b][k][0] - centre[k])**2 / (number + 1e-4)
            for j in objects:
                if j != k:
                    push += (
                        max(0, 1 - abs(centre[j] - centre[k])) /
                        (number * (number - 1)))
    return pull, push


def offsets_by_loops(regr, gt, mask):
    """``_regr_loss``."""
    total = count = 0.0
    for b in range(len(mask)):
        for k in range(OBJECTS):
            if mask[b][k]:
                count += 1
                for axis in range(2):
                    error = abs(regr[b][k][axis] - gt[b][k][axis])
                    total += 0.5 * error**2 if error < 1 else error - 0.5
    return total / (count + 1e-4)


def loss_by_loops(outs, targets, pull_weight, push_weight, regr_weight):
    outs = [x.tolist() for x in outs]
    heats, mask = targets[:2], targets[2].tolist()
    stacks = len(outs) // 6
    loss = 0.0
    for corner in range(2):
        maps = [
            torch.tensor(x, dtype=torch.float64).sigmoid().clamp(
                1e-4, 1 - 1e-4).flatten().tolist() for x in outs[corner::6]
        ]
        loss += focal_by_loops(maps, heats[corner].flatten().tolist())
        for regr in outs[4 + corner::6]:
            loss += regr_weight * offsets_by_loops(
                regr, targets[3 + corner].tolist(), mask)
    for tag0, tag1 in zip(outs[2::6], outs[3::6]):
        pull, push = groups_by_loops(tag0, tag1, mask)
        loss += pull_weight * pull + push_weight * push
    return loss / stacks


def sample(stacks=2):
    """The 12 outs and 5 targets."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator).double()

    outs = []
    for _ in range(stacks):
        outs += [draw(BATCH, CLASSES, SIZE, SIZE) for _ in range(2)]
        outs += [0.5 * draw(BATCH, OBJECTS, 1) for _ in range(2)]
        outs += [draw(BATCH, OBJECTS, 2) for _ in range(2)]
    heats = [draw(BATCH, CLASSES, SIZE, SIZE).sigmoid() for _ in range(2)]
    for heat in heats:
        heat.view(-1)[::17] = 1
    mask = torch.zeros(BATCH, OBJECTS, dtype=torch.uint8)
    for b, number in enumerate((5, 2, 3)):
        mask[b, :number] = 1
    return outs, [*heats, mask, draw(BATCH, OBJECTS, 2),
                  draw(BATCH, OBJECTS, 2)]  # yapf: disable


@pytest.mark.parametrize('stacks', (1, 2))
def test_as_the_document_calls_it(stacks):
    assert AELoss is CornerNetLoss
    outs, targets = sample(stacks)
    loss = AELoss(
        pull_weight=0.1, push_weight=0.2, regr_weight=0.5, focal_loss=neg_loss)
    got = loss(outs, targets)
    assert got.shape == (1, )
    expected = loss_by_loops(outs, targets, 0.1, 0.2, 0.5)
    assert math.isclose(got, expected, rel_tol=1e-9)
    terms = AELoss(0.1, 0.2, 0.5)(outs, targets)
    assert list(terms) == ['focal_loss', 'pull_loss', 'push_loss', 'regr_loss']
    torch.testing.assert_close(sum(terms.values()), got[0])


def test_own_focal_loss():
    """It takes the heatmaps of one corner of all stacks, and their target."""
    outs, targets = sample()
    calls = []

    def focal_loss(preds, gt):
        calls.append((len(preds), gt))
        return 3 * preds[0].sum()

    got = AELoss(0, 0, 0, focal_loss=focal_loss)(outs, targets)
    assert [number for number, _ in calls] == [2, 2]
    assert calls[0][1] is targets[0] and calls[1][1] is targets[1]
    expected = 3 / 2 * (outs[0].sigmoid().sum() + outs[1].sigmoid().sum())
    torch.testing.assert_close(got, expected.reshape(1))


def test_gradient():
    outs, targets = sample()
    for out in outs:
        out.requires_grad_()
    AELoss(focal_loss=neg_loss)(outs, targets).backward()
    one = [out.grad.clone() for out in outs]
    for out in outs:
        out.grad = None
    sum(AELoss()(outs, targets).values()).backward()
    for out, grad in zip(outs, one):
        torch.testing.assert_close(out.grad, grad)


def test_parts():
    """``_neg_loss``, ``_ae_loss`` and ``_regr_loss`` by their names here."""
    outs, targets = sample()
    maps = [x.sigmoid() for x in outs[::6]]
    assert math.isclose(
        neg_loss(maps, targets[0]),
        focal_by_loops([x.flatten().tolist() for x in maps],
                       targets[0].flatten().tolist()))
    mask = targets[2].bool()
    pull, push = associative_embedding_loss(*outs[2:4], mask, eps=1e-4)
    expected = groups_by_loops(outs[2].tolist(), outs[3].tolist(),
                               mask.tolist())
    assert math.isclose(pull.sum(), expected[0])
    assert math.isclose(push.sum(), expected[1])
    assert math.isclose(
        corner_offset_loss(outs[4], targets[3], mask).sum(),
        offsets_by_loops(outs[4].tolist(), targets[3].tolist(), mask.tolist()))


def test_without_a_peak():
    gt = torch.full((1, 1, 2, 2), 0.5)
    pred = torch.full((1, 1, 2, 2), 0.25)
    expected = -4 * math.log(0.75) * 0.25**2 * 0.5**4
    torch.testing.assert_close(neg_loss([pred], gt), torch.tensor(expected))


@pytest.mark.parametrize(
    'options',
    (dict(weight=torch.ones(BATCH)), dict(reduction_override='none')))
def test_refused(options):
    outs, targets = sample()
    with pytest.raises(ValueError, match='a sum over the batch'):
        AELoss(focal_loss=neg_loss)(outs, targets, **options)
    with pytest.raises(ValueError, match='focal_loss must be a function'):
        AELoss(focal_loss='gaussian')
