"""Every loss trains under DistributedDataParallel, in two processes."""
import torch
import torch.distributed as dist
from cases import CASES
from ranks import needs_ranks, run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

pytestmark = needs_ranks


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


def train_one_step(rank):
    """Rank 0 has samples, rank 1 has none that count."""
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


def test_a_rank_without_samples_neither_hangs_nor_diverges():
    run_ranks(train_one_step)
