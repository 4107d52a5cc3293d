"""The part of the classes that one rank holds."""
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

    The methods communicate: every rank must call each equally often.

    Args:
        classes (int): Number of all classes.
        rank (int): Index of this rank's part.
        ranks (int): Number of parts, whose sizes differ by at most one class.
    """
    classes: int
    rank: int
    ranks: int

    @classmethod
    def of_this_rank(cls, classes: int) -> ClassShard:
        """Return the shard of this process; all classes if it is alone."""
        return cls(classes, *get_dist_info())

    def bound(self, rank: int) -> int:
        """Return the first class of a rank."""
        return self.classes * rank // self.ranks

    @property
    def begin(self) -> int:
        return self.bound(self.rank)

    @property
    def end(self) -> int:
        return self.bound(self.rank + 1)

    def all_rows(self, tensor: Tensor) -> List[int]:
        """Gather the number of rows of each rank's tensor, on the host."""
        if self.ranks == 1:
            return [len(tensor)]
        number = torch.tensor([len(tensor)], device=tensor.device)
        numbers = [torch.empty_like(number) for _ in range(self.ranks)]
        dist.all_gather(numbers, number)
        return torch.cat(numbers).tolist()

    def gather(self, tensor: Tensor, rows: Sequence[int]) -> Tensor:
        """Concatenate the rows of all ranks."""
        if self.ranks == 1:
            return tensor
        # all_gather needs parts of the same size.
        padded = tensor.new_zeros(max(rows), *tensor.shape[1:])
        padded[:len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in rows]
        dist.all_gather(parts, padded)
        return torch.cat([part[:number] for part, number in zip(parts, rows)])

    def own(self, tensor: Tensor, rows: Sequence[int]) -> Tensor:
        """Return the rows of this rank among those of all."""
        begin = sum(rows[:self.rank])
        return tensor[begin:begin + rows[self.rank]].clone()

    def add(self, tensor: Tensor) -> Tensor:
        """Return the sum over the ranks."""
        return self.reduced(tensor, dist.ReduceOp.SUM)

    def highest(self, tensor: Tensor) -> Tensor:
        """Return the maximum over the ranks."""
        return self.reduced(tensor, dist.ReduceOp.MAX)

    def reduced(self, tensor: Tensor, operation: Any) -> Tensor:
        """Return a new tensor, reduced over the ranks."""
        tensor = tensor.contiguous().clone()
        if self.ranks > 1:
            dist.all_reduce(tensor, operation)
        return tensor

    def rows(self) -> List[int]:
        """Return the number of classes of each rank."""
        bounds = [self.bound(rank) for rank in range(self.ranks + 1)]
        return [end - begin for begin, end in zip(bounds, bounds[1:])]
