"""Classes that are spread over the ranks of a training."""
from __future__ import annotations
from dataclasses import dataclass
from typing import Any, List, Sequence

import torch
import torch.distributed as dist
from mmengine.dist import get_dist_info
from torch import Tensor


@dataclass(frozen=True)
class ClassShard:
    """The classes of one rank, from ``begin`` to before ``end``.

    Every rank must call each method equally often: they talk to each other.

    Args:
        classes (int): Number of all classes.
        rank (int): Which part this rank has.
        ranks (int): Number of parts, which differ by at most one class.
    """
    classes: int
    rank: int
    ranks: int

    @classmethod
    def of_this_rank(cls, classes: int) -> ClassShard:
        """The shard of the process that asks; all classes if it is alone."""
        return cls(classes, *get_dist_info())

    def bound(self, rank: int) -> int:
        """The first class of a rank."""
        return self.classes * rank // self.ranks

    @property
    def begin(self) -> int:
        """The first class of this rank."""
        return self.bound(self.rank)

    @property
    def end(self) -> int:
        """The first class of the next rank."""
        return self.bound(self.rank + 1)

    def all_rows(self, tensor: Tensor) -> List[int]:
        """How many rows the tensors of the ranks have. It waits for them."""
        if self.ranks == 1:
            return [len(tensor)]
        number = torch.tensor([len(tensor)], device=tensor.device)
        numbers = [torch.empty_like(number) for _ in range(self.ranks)]
        dist.all_gather(numbers, number)
        return torch.cat(numbers).tolist()

    def gather(self, tensor: Tensor, rows: Sequence[int]) -> Tensor:
        """Put the rows of all ranks below each other."""
        if self.ranks == 1:
            return tensor
        # Parts of different sizes cannot be exchanged.
        padded = tensor.new_zeros(max(rows), *tensor.shape[1:])
        padded[:len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in rows]
        dist.all_gather(parts, padded)
        return torch.cat([part[:number] for part, number in zip(parts, rows)])

    def own(self, tensor: Tensor, rows: Sequence[int]) -> Tensor:
        """The rows of this rank among those of all."""
        begin = sum(rows[:self.rank])
        return tensor[begin:begin + rows[self.rank]].clone()

    def add(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks."""
        return self.reduced(tensor, dist.ReduceOp.SUM)

    def highest(self, tensor: Tensor) -> Tensor:
        """The maximum over the ranks."""
        return self.reduced(tensor, dist.ReduceOp.MAX)

    def reduced(self, tensor: Tensor, operation: Any) -> Tensor:
        """A new tensor, what the ranks have made of theirs."""
        tensor = tensor.contiguous().clone()
        if self.ranks > 1:
            dist.all_reduce(tensor, operation)
        return tensor

    def rows(self) -> List[int]:
        """How many classes each rank has."""
        bounds = [self.bound(rank) for rank in range(self.ranks + 1)]
        return [end - begin for begin, end in zip(bounds, bounds[1:])]
