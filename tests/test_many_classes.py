"""More classes than fit: in chunks, and spread over ranks."""
import itertools
import math

import pytest
import torch
import torch.distributed as dist
from helpers import ROOT, needs_dotted_paths
from mmengine.registry import MODEL_WRAPPERS
from ranks import launch_training, needs_ranks, run_ranks
from torch import nn

from mmlosses.distributed.class_shard import ClassShard
from mmlosses.distributed.wrapper import clip_sharded_grad_norm_
from mmlosses.losses import ArcFaceLoss, ModifiedSoftmaxLoss, NormFaceLoss

LOSSES = (ModifiedSoftmaxLoss, NormFaceLoss, ArcFaceLoss)
SAMPLES, CLASSES, CHANNELS = 9, 7, 4

# What each rank has of the samples.
ROWS = {2: [9, 0], 4: [2, 0, 4, 3]}


def batch():
    """Features, labels, weights and class vectors, the same each time."""
    generator = torch.Generator().manual_seed(3)
    numbers = dict(generator=generator, dtype=torch.float64)
    return (torch.randn(SAMPLES, CHANNELS, **numbers),
            torch.randint(CLASSES, (SAMPLES, ),
                          generator=generator), torch.rand(SAMPLES, **numbers),
            torch.randn(CLASSES, CHANNELS, **numbers))


def learned(kind, rows=slice(None), move=0.0, **kwargs):
    """The loss of some samples, with its gradients."""
    features, labels, weight, vectors = batch()
    features = features[rows].requires_grad_()
    loss = kind(CLASSES, CHANNELS, **kwargs).double()
    loss.load_state_dict(dict(weight=vectors + move))
    value = loss(features, labels[rows], weight[rows], avg_factor=5.0)
    value.backward()
    return value.detach(), features.grad, loss


@pytest.mark.parametrize('kind', LOSSES)
@pytest.mark.parametrize('chunk_size', [1, 3, 7, 100])
def test_chunks_change_nothing(kind, chunk_size):
    value, grad, loss = learned(kind)
    got, got_grad, chunked = learned(kind, chunk_size=chunk_size)
    torch.testing.assert_close(got, value)
    torch.testing.assert_close(got_grad, grad)
    torch.testing.assert_close(chunked.weight.grad, loss.weight.grad)
    with torch.no_grad():
        torch.testing.assert_close(chunked(*batch()[:3]), loss(*batch()[:3]))


def test_chunks_of_large_and_missing_logits():
    """The largest logit so far is replaced without running over."""
    loss = ModifiedSoftmaxLoss(4, 1, chunk_size=1)
    loss.load_state_dict(dict(weight=torch.tensor([[-1.], [1.], [0.], [1.]])))
    features = torch.tensor([[1e4], [-1e4], [0.]], requires_grad=True)
    value = loss(features, torch.tensor([1, 0, 2]), reduction_override='none')
    torch.testing.assert_close(value, torch.tensor([2., 1., 4.]).log())
    value.sum().backward()
    assert features.grad.isfinite().all()
    assert loss.weight.grad.isfinite().all()


@pytest.mark.parametrize('kind', LOSSES)
def test_derivatives_of_chunks(kind):
    loss = kind(5, 3, chunk_size=2).double()
    features = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    vectors = loss.weight.detach().requires_grad_()

    def value(features, vectors):
        return torch.func.functional_call(loss, dict(weight=vectors),
                                          (features, torch.arange(4)))

    del loss.weight
    loss.weight = vectors
    assert torch.autograd.gradcheck(value, (features, vectors))
    assert torch.autograd.gradgradcheck(value, (features, vectors))


def test_chunks_keep_nothing_for_each_logit():
    loss = ArcFaceLoss(3000, CHANNELS, chunk_size=100)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda x: kept.append(x.numel()) or x, lambda x: x):
        loss(torch.randn(50, CHANNELS, requires_grad=True), torch.arange(50))
    assert max(kept) == 3000 * CHANNELS and sum(kept) < 2 * max(kept)


@pytest.mark.parametrize('classes, ranks', [(7, 2), (7, 4), (3, 4), (8, 1)])
def test_each_class_has_one_rank(classes, ranks):
    shards = [ClassShard(classes, rank, ranks) for rank in range(ranks)]
    owned = [x for shard in shards for x in range(shard.begin, shard.end)]
    assert owned == list(range(classes))
    rows = [shard.end - shard.begin for shard in shards]
    assert shards[0].rows() == rows and max(rows) - min(rows) <= 1


def compare(rank, ranks):
    """One rank of a distributed loss, beside that of one process."""
    begin = sum(ROWS[ranks][:rank])
    rows = slice(begin, begin + ROWS[ranks][rank])
    for kind, chunk_size in itertools.product(LOSSES, (None, 2)):
        value, grad, whole = learned(kind)
        got, got_grad, loss = learned(
            kind, rows, shard_classes=True, chunk_size=chunk_size)
        dist.all_reduce(got)
        torch.testing.assert_close(got, value)
        torch.testing.assert_close(got_grad, grad[rows])
        shard = loss.shard
        assert len(loss.weight) == shard.end - shard.begin < CLASSES
        # The mean over the ranks, as that of every other parameter.
        torch.testing.assert_close(ranks * loss.weight.grad,
                                   whole.weight.grad[shard.begin:shard.end])
        with pytest.raises(RuntimeError, match='no second derivative'):
            features = batch()[0].requires_grad_()
            torch.autograd.grad(
                loss(features,
                     batch()[1]), features, create_graph=True)


@pytest.mark.slow
@needs_ranks
@pytest.mark.parametrize('ranks', [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_with_their_classes_equal_one_process(ranks):
    """Also where a rank has no sample."""
    run_ranks(compare, ranks, ranks=ranks)


def start_vectors(rank, folder):
    """Save what a rank begins with."""
    torch.manual_seed(0)
    loss = ArcFaceLoss(40, 8, shard_classes=True)
    torch.save((loss.weight, torch.rand(1)), folder / f'{rank}.pt')


@pytest.mark.slow
@needs_ranks
def test_ranks_start_from_other_vectors(tmp_path):
    """Although their seed is one, and stays one."""
    run_ranks(start_vectors, tmp_path)
    (one, random), (other, same) = [
        torch.load(tmp_path / f'{rank}.pt', weights_only=False)
        for rank in range(2)
    ]
    assert torch.equal(random, same)
    assert not torch.isclose(one, other).any()
    limit = (6 / 48)**0.5
    both = torch.cat([one, other])
    assert both.abs().max() < limit and both.abs().mean() > 0.4 * limit


CONFIG = """
_base_ = {base!r}
model = dict(channels=(8, 8), head=dict(loss=dict({options})))
train_dataloader = dict(batch_size=10, dataset=dict(num_scenes=40))
val_dataloader = dict(dataset=dict(num_scenes=15))
optim_wrapper = dict(
    _delete_=True,
    clip_grad=dict(max_norm=0.5),
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
train_cfg = dict(max_epochs=3)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))
"""
WRAPPED = """
model_wrapper_cfg = dict(type='mmlosses.ShardedClassesDDP')
custom_hooks = [dict(type='mmlosses.ShardedClassesHook')]
"""


def train(config, world, epoch, last=None):
    """Train an epoch on some ranks, from the checkpoint of the last one."""
    work_dir = config.parent / f'{config.stem}-{epoch}-{world}'
    options = ['--cfg-options', f'train_cfg.max_epochs={epoch}']
    if last is not None:
        options += ['--resume', last]
    done = launch_training(config, work_dir, world, *options)
    return done, work_dir / f'epoch_{epoch}.pth'


@pytest.fixture
def configs(tmp_path):
    """The same training, with all classes on each rank, and with some."""
    pytest.importorskip('sklearn', reason='the demo needs scikit-learn')
    base = str(ROOT / 'configs/digits/arcface.py')
    texts = dict(
        whole=CONFIG.format(base=base, options=''),
        sharded=CONFIG.format(
            base=base, options='shard_classes=True, chunk_size=3') + WRAPPED)
    paths = {name: tmp_path / f'{name}.py' for name in texts}
    for name, text in texts.items():
        paths[name].write_text(text)
    return paths


@needs_ranks
@needs_dotted_paths
@pytest.mark.slow
def test_training_resumes_on_another_number_of_ranks(configs):
    """Weights and momentum are those of a training that spreads nothing.

    So is the norm of the gradients, by which they are clipped.
    """
    saved = {}
    done, start = train(configs['whole'], 1, 1)
    assert done.returncode == 0, done.stderr
    for name, config in configs.items():
        with config.open('a') as file:
            file.write(f'\nload_from = {str(start)!r}\n')
        path = None
        for epoch, world in ((1, 2), (2, 4)):
            done, path = train(config, world, epoch, path)
            assert done.returncode == 0, done.stderr
            saved[name, epoch] = torch.load(path, weights_only=False)
    for epoch in (1, 2):
        whole, sharded = saved['whole', epoch], saved['sharded', epoch]
        vectors = sharded['state_dict']['head.loss_module.weight']
        assert vectors.shape == (10, 16)
        for key in ('state_dict', 'optimizer'):
            torch.testing.assert_close(
                sharded[key], whole[key], rtol=1e-3, atol=1e-5)
        norm, expected = [
            one['message_hub']['log_scalars']['train/grad_norm'].current()
            for one in (sharded, whole)
        ]
        assert norm == pytest.approx(expected, rel=1e-3) and norm > 0.5


@needs_ranks
@needs_dotted_paths
@pytest.mark.slow
def test_another_wrapper_is_refused(configs):
    """It would exchange the gradients of different classes."""
    config = configs['sharded']
    config.write_text(config.read_text().replace('model_wrapper_cfg', 'other'))
    done, _ = train(config, 2, 1)
    assert done.returncode != 0
    assert 'ShardedClassesDDP' in done.stderr


def clip(rank):
    """Clip a part of the vectors and a parameter that all ranks have."""
    for norm_type in (1.0, 2.0, math.inf):
        compare_norms(rank, norm_type)


def compare_norms(rank, norm_type):
    """The norm and the clipped gradients are those of one process."""
    whole = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(4, 2))]
    whole[0].grad = torch.tensor([1., -2., 3.])
    whole[1].grad = torch.arange(8.).view(4, 2)
    parts = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2))]
    parts[0].grad = whole[0].grad.clone()
    rows = slice(2 * rank, 2 * rank + 2)
    parts[1].grad = whole[1].grad[rows].clone()
    expected = nn.utils.clip_grad_norm_(whole, 2.0, norm_type)
    norm = clip_sharded_grad_norm_(parts, 2.0, norm_type, sharded=[parts[1]])
    torch.testing.assert_close(norm, expected)
    torch.testing.assert_close(parts[0].grad, whole[0].grad)
    torch.testing.assert_close(parts[1].grad, whole[1].grad[rows])


@pytest.mark.slow
@needs_ranks
def test_norm_of_all_classes():
    run_ranks(clip)


VALUE = "optim_wrapper.update(clip_grad=dict(type='value', clip_value=1.0))"
AVERAGE = "custom_hooks.append(dict(type='EMAHook'))"


@needs_ranks
@needs_dotted_paths
@pytest.mark.slow
@pytest.mark.parametrize('change, message', [
    (AVERAGE, 'EMAHook averages'),
    (VALUE, None),
])
def test_what_differs_between_parts_is_refused(configs, change, message):
    """Before the first step, after which replicas would drift apart."""
    config = configs['sharded']
    config.write_text(f'{config.read_text()}\n{change}\n')
    done, _ = train(config, 2, 1)
    if message is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0 and message in done.stderr
        assert 'Epoch(train)' not in done.stdout + done.stderr


def test_wrapper_is_registered():
    assert MODEL_WRAPPERS.get('mmlosses.ShardedClassesDDP') is not None
