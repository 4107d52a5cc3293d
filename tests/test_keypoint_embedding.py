"""AssociativeEmbeddingLoss of keypoints, the call of mmpose."""
import math
from types import SimpleNamespace

import pytest
import torch
from helpers import needs_dynamo
from torch._subclasses.fake_tensor import FakeTensorMode

from mmlosses.losses import AssociativeEmbeddingLoss
from mmlosses.registry import MODELS
from mmlosses.testing import CONTRACT, LossCase

KEYPOINTS, CHANNELS, SIZE = 3, 2, (4, 5)


def random_tags(images, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (images, CHANNELS * KEYPOINTS, *SIZE)
    return torch.randn(shape, generator=generator, dtype=dtype)


def people(*numbers, seed=0):
    """Places and visibility (N, K, 2) for each image."""
    generator = torch.Generator().manual_seed(seed)
    result = []
    for number in numbers:
        place = torch.randint(0, 20, (number, KEYPOINTS), generator=generator)
        seen = torch.rand(number, KEYPOINTS, generator=generator) > 0.3
        result.append(torch.stack([place, 2 * seen.long()], dim=-1))
    return result


def pull_push_by_loops(tags, places):
    """The paper's sums for one image, person by person.

    Push is exp(-d^2) and divides by pairs of different people, as in mmpose.
    """
    means, pull = [], 0.0
    for person in places.tolist():
        rows = []
        for k, (place, seen) in enumerate(person):
            y, x = divmod(place, SIZE[1])
            if seen:
                rows.append([
                    tags[c * KEYPOINTS + k, y, x].item()
                    for c in range(CHANNELS)
                ])
        if rows:
            mean = [sum(column) / len(rows) for column in zip(*rows)]
            squares = [(a - m)**2 for row in rows for a, m in zip(row, mean)]
            pull += sum(squares) / len(squares)
            means.append(mean)
    push = sum([
        math.exp(-(a - b)**2) for one in means for other in means
        for a, b in zip(one, other)
    ])
    number = len(means)
    return (pull / max(number, 1),
            push / (number * (number - 1)) if number > 1 else 0.0)


@pytest.mark.parametrize('numbers', [(5, 2, 0, 1), (0, 0), (1, ), (8, )])
def test_matches_loops(numbers):
    tags, places = random_tags(len(numbers)), people(*numbers)
    pull, push = AssociativeEmbeddingLoss(reduction='none')(tags, places)
    for n, image in enumerate(places):
        expected = pull_push_by_loops(tags[n], image)
        assert pull[n].item() == pytest.approx(expected[0], rel=2e-6)
        assert push[n].item() == pytest.approx(0.5 * expected[1], rel=2e-6)


@pytest.mark.parametrize('numbers', [(5, 2, 0, 1), (0, 0), (1, ), (8, )])
@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(loss_weight=0.001),
    dict(push_loss_factor=2.0),
])
def test_matches_mmpose(numbers, kwargs):
    """Value and gradient, also of the constant for a person and itself."""
    stock = pytest.importorskip('mmpose.models.losses.ae_loss')
    stock = stock.AssociativeEmbeddingLoss(**kwargs)
    ours = MODELS.build(
        dict(type='mmlosses.AssociativeEmbeddingLoss', **kwargs))
    tags, places = random_tags(len(numbers)).requires_grad_(), people(*numbers)
    results = []
    for loss in (ours, stock):
        terms = loss(tags, places)
        assert isinstance(terms, tuple)
        grads = [
            torch.autograd.grad(x, tags, retain_graph=True, allow_unused=True)
            for x in terms
        ]
        grads = [torch.zeros_like(tags) if x is None else x for x, in grads]
        results.append((*terms, *grads))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-15)


def test_indices_in_one_tensor():
    """People without a visible keypoint are padding."""
    tags, places = random_tags(3), people(4, 2, 0)
    loss = AssociativeEmbeddingLoss()
    padded = torch.zeros(3, 6, KEYPOINTS, 2, dtype=torch.int32)
    for n, image in enumerate(places):
        padded[n, :len(image)] = image
    padded[..., 0] += 100 * (padded[..., 1] == 0)  # may be out of the map
    torch.testing.assert_close(loss(tags, padded), loss(tags, places))
    torch.testing.assert_close(
        loss(tags=tags, keypoint_indices=padded), loss(tags, places))


def test_people_far_apart_keep_only_the_constant():
    """Each person with itself: L / (N - 1), without a gradient."""
    tags = torch.zeros(1, CHANNELS * KEYPOINTS, *SIZE)
    tags.flatten(2)[..., :4] = 100 * torch.arange(4.0)
    tags.requires_grad_()
    places = torch.zeros(1, 4, KEYPOINTS, 2, dtype=torch.long)
    places[..., 0], places[..., 1] = torch.arange(4)[:, None], 1
    pull, push = AssociativeEmbeddingLoss(push_loss_factor=1)(tags, places)
    grad, = torch.autograd.grad(push, tags)
    assert pull == 0 and push.item() == pytest.approx(CHANNELS / 3)
    assert (grad == 0).all()


def test_no_person_is_a_zero_with_a_graph():
    tags = random_tags(2).requires_grad_()
    for term in AssociativeEmbeddingLoss()(tags, people(0, 1)):
        grad, = torch.autograd.grad(term, tags, retain_graph=True)
        assert grad.isfinite().all()


def test_one_graph_without_a_sync():
    tags, places = random_tags(2), torch.stack(people(3, 3))
    loss = AssociativeEmbeddingLoss()
    with FakeTensorMode() as mode:
        loss(*[mode.from_tensor(x) for x in (tags, places)])
    needs_dynamo()
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(tags, places), loss(tags, places))


@pytest.mark.parametrize('tags, places, words', [
    (torch.zeros(2, 6, 4, 5), torch.zeros(1, 2, 3, 2).long(), '(1, 2, 3, 2)'),
    (torch.zeros(2, 5, 4, 5), torch.zeros(2, 2, 3, 2).long(), '(2, 5, 4, 5)'),
    (torch.zeros(2, 6, 20), torch.zeros(2, 2, 3, 2).long(), '(2, 6, 20)'),
    (torch.zeros(2, 6, 4, 5), torch.zeros(2, 2, 3).long(), '(2, 2, 3)'),
    (torch.zeros(0, 6, 4, 5), [], 'got list'),
    (torch.zeros(0, 6, 4, 5), None, 'keypoint_indices'),
    (torch.zeros(2, 6, 4, 5), torch.zeros(2, 6, 4, 5), 'float32'),
    (torch.zeros(2, 6, 4, 5).long(), people(2, 2), 'int64'),
])
def test_error_messages(tags, places, words):
    with pytest.raises((ValueError, TypeError)) as caught:
        AssociativeEmbeddingLoss()(tags, places)
    assert words in str(caught.value)


def inputs(batch):
    places = [people(3, seed=n)[0] for n in range(batch)]
    empty = torch.zeros(0, 3, KEYPOINTS, 2, dtype=torch.long)
    return (random_tags(batch, torch.float32),
            torch.stack(places) if batch else empty)


CASE = LossCase(
    loss=AssociativeEmbeddingLoss,
    inputs=inputs,
    element_shape=lambda batch: (batch, ),
    call=lambda loss, tags, places, weight=None, *args, **kwargs: sum(
        loss(tags, places, None, weight, *args, **kwargs)),
    non_negative=True,
    mean=torch.Tensor.sum)


@pytest.mark.parametrize('name', sorted(set(CONTRACT) - {'no_dead_argument'}))
def test_contract(name):
    if name == 'compiles':
        needs_dynamo()
    CONTRACT[name](CASE)


@pytest.mark.openmmlab
@pytest.mark.parametrize('tag_per_keypoint', [True, False])
def test_head_of_mmpose(tag_per_keypoint):
    """Its stock config has no pipeline for training, so only the head."""
    heads = pytest.importorskip('mmpose.models.heads')
    from mmpose.utils import register_all_modules
    register_all_modules()
    samples = []
    for places in people(3, 2):
        labels = SimpleNamespace(
            keypoint_indices=places, keypoint_weights=torch.ones(1, KEYPOINTS))
        fields = SimpleNamespace(
            heatmaps=torch.rand(KEYPOINTS, *SIZE),
            heatmap_mask=torch.ones(1, *SIZE).bool())
        samples.append(
            SimpleNamespace(gt_fields=fields, gt_instance_labels=labels))
    results = []
    for prefix in ('', 'mmlosses.'):
        torch.manual_seed(0)
        head = heads.AssociativeEmbeddingHead(
            in_channels=4,
            num_keypoints=KEYPOINTS,
            tag_per_keypoint=tag_per_keypoint,
            deconv_out_channels=None,
            keypoint_loss=dict(type='KeypointMSELoss'),
            tag_loss=dict(
                type=prefix + 'AssociativeEmbeddingLoss', loss_weight=0.001))
        feats = (torch.randn(2, 4, *SIZE), )
        losses = head.loss(feats, samples)
        terms = [losses['loss_pull'], losses['loss_push']]
        grads = torch.autograd.grad(sum(terms), head.final_layer.weight)
        results.append((*terms, *grads))
    assert min(results[0][:2]) > 0
    torch.testing.assert_close(*results)
