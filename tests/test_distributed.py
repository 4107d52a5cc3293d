"""Training under DistributedDataParallel equals training in one process."""
import dataclasses

import pytest
import torch
import torch.distributed as dist
from cases import CASES
from helpers import ROOT, needs_dotted_paths
from mmengine.model import MMDistributedDataParallel
from ranks import launch_training, needs_ranks, run_ranks
from torch import nn

from mmlosses.core.statistics import statistics_losses
from mmlosses.core.tensors import map_tensors
from mmlosses.losses import (GHMC, GHMR, AssociativeEmbeddingLoss,
                             BalancedBCELoss, BoundaryLoss, CenterLoss,
                             CenterSoftmaxLoss, CornerNetLoss, LovaszLoss,
                             MultiBinLoss, SeesawLoss, SemiSupervisionLoss,
                             SwAVLoss, TripletLoss, WIoULoss)

pytestmark = [needs_ranks, pytest.mark.slow]

CASE = {case.loss: case for case in CASES}

# How 24 samples are split over the ranks: equally or not, some ranks empty.
SAMPLES = {
    'even': {
        2: [12, 12],
        4: [6, 6, 6, 6]
    },
    'uneven': {
        2: [24, 0],
        4: [5, 0, 12, 7]
    }
}


class Model(nn.Module):
    """One parameter per prediction element, and those of the loss."""

    def __init__(self, case, pred):
        super().__init__()
        self.case = case
        self.offsets = nn.ParameterList([
            nn.Parameter(torch.zeros_like(tensor[:1]))
            for tensor in as_list(pred)
        ])
        self.loss = case.build().double().train()

    def forward(self, pred, *args, **kwargs):
        moved = [x + y for x, y in zip(as_list(pred), self.offsets)]
        pred = tuple(moved) if isinstance(pred, tuple) else moved[0]
        return self.case.run(self.loss, pred, *args, **kwargs)


def as_list(tensors):
    return list(tensors) if isinstance(tensors, tuple) else [tensors]


def whole_batch(case):
    """24 samples and their weights; some losses have only 3 rows."""
    torch.manual_seed(1)
    parts = [case.inputs(3) for _ in range(8)]
    preds, targets = [[as_list(part[i]) for part in parts] for i in (0, 1)]
    # Those rows may repeat.
    preds = [[(1 - index / 20) * tensor for tensor in pred]
             for index, pred in enumerate(preds)]
    if case.build().takes_probabilities:  # also after a step
        preds = [[0.25 + tensor.sigmoid() / 2 for tensor in pred]
                 for pred in preds]
    joined = []
    for each in (preds, targets):
        tensors = [torch.cat(rows) for rows in zip(*each)]
        tensors = [x.double() if x.is_floating_point() else x for x in tensors]
        several = isinstance(parts[0][len(joined)], tuple)
        joined.append(tuple(tensors) if several else tensors[0])
    return (*joined, case.random_weight(24).double())


def train(case, sizes, rank=None):
    """Two steps on the samples of a rank, or on all samples.

    Ranks with unequal numbers of samples average ``avg_factor`` as mmdet's
    heads do. Ranks with equal numbers are unweighted and leave the
    denominator to the loss.

    Returns:
        dict[str, Tensor]: Inputs, values and final state by name.
    """
    pred, target, weight = whole_batch(case)
    args = (weight, weight.sum())
    model = wrapped = Model(case, pred)
    if rank is not None:
        wrapped = MMDistributedDataParallel(model)
        begin = sum(sizes[:rank])
        own = slice(begin, begin + sizes[rank])
        pred, target, weight = [
            map_tensors(lambda x: x[own], x) for x in (pred, target, weight)
        ]
        factor = weight.sum()
        dist.all_reduce(factor)
        args = (weight, factor / len(sizes))
    if len(set(sizes)) == 1:
        args = ()
    pred = map_tensors(lambda x: x.clone().requires_grad_(), pred)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    statistics = [] if rank is None else statistics_losses(model)
    for loss in statistics:
        loss.defer(True)
    seen = {}
    for step in (1, 2):
        optimizer.zero_grad()
        loss = wrapped(pred, target, *args)
        loss.backward()
        optimizer.step()
        for each in statistics:
            each.synchronize()
        seen[f'loss {step}'] = loss.detach()
    seen.update({x: y.clone() for x, y in model.state_dict().items()})
    for name, parameter in model.named_parameters():
        seen[f'gradient of {name}'] = parameter.grad.clone()
    for index, tensor in enumerate(as_list(pred)):
        seen[f'gradient of pred {index}'] = tensor.grad
    return seen


def variant(loss, **changes):
    """A case with other arguments or fields."""
    case = CASE[loss]
    kwargs = {**case.kwargs, **changes.pop('kwargs', {})}
    return dataclasses.replace(case, kwargs=kwargs, **changes)


def even_corners(batch):
    """Corners with equal numbers of peaks and objects in every image."""
    outs, targets = CASE[CornerNetLoss].inputs(batch)
    targets = [x.clone() for x in targets]
    for heat in targets[:2]:
        heat.mul_(0.9)[:, 0, 1, 1:3] = 1
    targets[2][:] = torch.tensor([1, 0, 1, 0]).bool()
    return outs, tuple(targets)


def corner_terms(*names):
    """The sum of some of CornerNet's terms."""

    def call(loss, *args, **kwargs):
        terms = loss(*args, **kwargs)
        return sum(terms[name] for name in names)

    return call


# What compares samples of a batch, or counts them before use.
PER_BATCH = (BoundaryLoss, GHMC, GHMR, LovaszLoss, MultiBinLoss, SeesawLoss,
             SemiSupervisionLoss, SwAVLoss, TripletLoss)
COMPARED = [case for case in CASES if case.loss not in PER_BATCH]
# Losses not listed here have a denominator or a top-k per batch, which differs
# between ranks.
MEANS = {
    **{
        case.loss.__name__: case
        for case in COMPARED if case.mean is torch.Tensor.mean
    },
    'CenterLoss, learnt':
    variant(CenterLoss, kwargs=dict(learn_centers=True)),
    'CenterSoftmaxLoss, learnt':
    variant(CenterSoftmaxLoss, kwargs=dict(learn_centers=True)),
    'LovaszLoss, per image':
    variant(LovaszLoss, kwargs=dict(per_image=True)),
    'WIoULoss, version 2':
    variant(WIoULoss, kwargs=dict(version=2, momentum=0.5)),
    'WIoULoss, version 3':
    variant(WIoULoss, kwargs=dict(version=3, momentum=0.5)),
}
PER_IMAGE = {
    'BalancedBCELoss, per image':
    variant(BalancedBCELoss, kwargs=dict(per_image=True)),
}
EVEN_CORNERS = {
    'CornerNetLoss, heatmaps and offsets':
    variant(
        CornerNetLoss,
        inputs=even_corners,
        call=corner_terms('focal_loss', 'regr_loss')),
}
# As in stock, these are sums over the images.
SUMS = {
    'AssociativeEmbeddingLoss':
    CASE[AssociativeEmbeddingLoss],
    'CornerNetLoss, tags':
    variant(CornerNetLoss, call=corner_terms('pull_loss', 'push_loss')),
}
ROWS = {
    'even': {
        **MEANS,
        **EVEN_CORNERS,
        **SUMS
    },
    'uneven': {
        **MEANS,
        **PER_IMAGE,
        **SUMS
    },
}


def only_rank_0(case, number, rank):
    """The gradients when the other ranks have only samples of weight 0."""
    pred, target, weight = whole_batch(case)
    model = MMDistributedDataParallel(Model(case, pred))
    if rank != 0:
        pred, target, weight = [
            map_tensors(lambda x: x[:number], x)
            for x in (pred, target, 0 * weight)
        ]
    model(pred, target, weight).backward()
    return {x: y.grad for x, y in model.named_parameters()}


def train_all(rank, world, folder):
    """The results of every loss on one rank."""
    seen = {
        (kind, name): train(case, SAMPLES[kind][world], rank)
        for kind, cases in ROWS.items()
        for name, case in cases.items()
    }
    for case in CASES:
        for number in (24, 0):
            seen[case.loss, number] = only_rank_0(case, number, rank)
    torch.save(seen, folder / f'{world}-{rank}.pt')


@pytest.fixture(
    scope='module', params=[2, pytest.param(4, marks=pytest.mark.slow)])
def ranks(request, tmp_path_factory):
    """The results of each of 2 or 4 ranks."""
    world, folder = request.param, tmp_path_factory.mktemp('ranks')
    run_ranks(train_all, world, folder, ranks=world)
    return [
        torch.load(folder / f'{world}-{rank}.pt', weights_only=False)
        for rank in range(world)
    ]


@pytest.mark.parametrize('kind, name', [(kind, name) for kind in ROWS
                                        for name in ROWS[kind]])
def test_ranks_match_one_process_with_the_whole_batch(ranks, kind, name):
    """Values, gradients, parameters and buffers over two steps."""
    case, world = ROWS[kind][name], len(ranks)
    if kind == 'even' and name in SUMS:
        # Without a denominator, DDP's mean over ranks divides.
        case = dataclasses.replace(
            case, kwargs=dict(case.kwargs, loss_weight=1 / world))
    whole = train(case, SAMPLES[kind][world])
    each = [seen[kind, name] for seen in ranks]
    for key, expected in whole.items():
        values = [seen[key] for seen in each]
        if key.startswith('loss '):
            got = [sum(values) / world]
        elif key.startswith('gradient of pred'):
            got = [torch.cat(values) / world]
        else:
            got = values
        assert all(torch.equal(got[0], other) for other in got), key
        # The denominator has an epsilon of up to 1e-4.
        torch.testing.assert_close(
            got[0],
            expected,
            rtol=1e-5,
            atol=1e-9,
            msg=lambda text: f'{key}: {text}')


@pytest.mark.parametrize('number', (24, 0))
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.loss.__name__)
def test_ranks_without_samples_neither_hang_nor_diverge(ranks, case, number):
    """Only rank 0 has samples that count; all ranks learn the same."""
    first, *others = [seen[case.loss, number] for seen in ranks]
    for name, gradient in first.items():
        assert torch.isfinite(gradient).all() and gradient.any(), name
        for other in others:
            assert torch.equal(other[name], gradient), name


CONFIG = """
_base_ = {base!r}
model = dict(channels=(8, 8))
train_dataloader = dict(batch_size=10, dataset=dict(num_scenes=40))
val_dataloader = dict(dataset=dict(num_scenes=20))
train_cfg = dict(max_epochs=3)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))
custom_hooks = [dict(type='faulty.SaveFirst')]
"""


def train_digits(config, world, epoch, last=None):
    """Train in several processes and return a checkpoint.

    It resumes from ``last``, and its initial state must equal that one.
    """
    work_dir = config.parent / f'{epoch}'
    options = [] if last is None else ['--resume', last]
    done = launch_training(config, work_dir, world, *options)
    assert done.returncode == 0, done.stderr
    if last is not None:
        begun, expected = load(work_dir / 'first.pth'), load(last)
        assert begun['param_schedulers'] == expected['param_schedulers']
        for key in ('state_dict', 'optimizer'):
            torch.testing.assert_close(
                begun[key], expected[key], rtol=0, atol=0)
    return work_dir / f'epoch_{epoch}.pth'


def load(path):
    return torch.load(path, weights_only=False)


@needs_dotted_paths
@pytest.mark.slow
@pytest.mark.parametrize('name, buffer', [
    ('center_softmax', 'head.loss_module.centers'),
    ('boxes_wiou', 'head.loss_module.mean_iou_loss'),
])
def test_training_resumes_on_another_number_of_ranks(name, buffer, tmp_path):
    """One epoch on 2 ranks, one on 1, one on 2: the state carries over."""
    pytest.importorskip('sklearn', reason='the demo needs scikit-learn')
    config = tmp_path / 'config.py'
    base = ROOT / 'configs' / 'digits' / f'{name}.py'
    config.write_text(CONFIG.format(base=str(base)))
    paths = [train_digits(config, 2, 1)]
    paths.append(train_digits(config, 1, 2, paths[-1]))
    paths.append(train_digits(config, 2, 3, paths[-1]))
    one, two, three = [load(path)['state_dict'][buffer] for path in paths]
    assert not torch.equal(one, two) and not torch.equal(two, three)
    # 40 scenes in batches of 10, on 2 ranks, 1 and 2.
    losses = load(paths[-1])['message_hub']['log_scalars']['train/loss']
    assert len(losses.data[0]) == 2 + 4 + 2
    assert torch.tensor(losses.data[0]).isfinite().all()
