"""Every loss trains under DistributedDataParallel, in two processes."""
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from cases import CASES
from torch import nn
from torch.nn.parallel import DistributedDataParallel

pytestmark = pytest.mark.skipif(
    not dist.is_available(), reason='this torch has no distributed')


class Model(nn.Module):
    """One parameter before the loss, and those of the loss itself."""

    def __init__(self, case):
        super().__init__()
        self.case = case
        self.scale = nn.Parameter(torch.ones(()))
        self.loss = case.build()

    def forward(self, pred, target, weight):
        pred = tuple(
            axis * self.scale
            for axis in pred) if isinstance(pred, tuple) else pred * self.scale
        return self.case.run(self.loss, pred, target, weight)


def train_one_step(rank, store):
    """Rank 0 has samples, rank 1 has none that count."""
    dist.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    for case in CASES:
        model = DistributedDataParallel(Model(case))
        weight = case.random_weight() * (rank == 0)
        model(*case.sample(), weight).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, (case.loss, name)
            assert torch.isfinite(parameter.grad).all(), (case.loss, name)
            ranks = [torch.empty_like(parameter.grad) for _ in range(2)]
            dist.all_gather(ranks, parameter.grad)
            assert torch.equal(*ranks), (case.loss, name)
    dist.destroy_process_group()


def test_a_rank_without_samples_neither_hangs_nor_diverges(tmp_path):
    mp.spawn(train_one_step, args=(tmp_path / 'store', ), nprocs=2)
