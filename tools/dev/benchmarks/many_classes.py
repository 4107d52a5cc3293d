"""Time and memory of ArcFace with many classes.

One step, forward and backward, in its own process for each line: with all
logits at once, in chunks, and with the classes sharded over ranks. Memory is
the peak of the tensors of a step, without class vectors and their gradient.
"""
from __future__ import annotations
import itertools
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Callable, Dict, List, Tuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mmlosses.losses import ArcFaceLoss
from .measure import MIB, machine

BATCH, CHANNELS, CHUNK = 256, 512, 5_000

Line = Dict[str, Any]


def lines() -> List[Line]:
    """The lines: how, with how many classes, on how many ranks."""
    return [
        dict(how='plain', classes=200_000),
        dict(how='dense', classes=200_000),
        dict(how='chunks', classes=50_000),
        dict(how='chunks', classes=200_000),
        dict(how='chunks', classes=1_000_000),
        *[
            dict(how='shards', classes=200_000, ranks=ranks)
            for ranks in (1, 2, 4)
        ],
    ]


class PlainArcFace(torch.nn.Module):
    """The formula as autograd differentiates it."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weight = ArcFaceLoss(classes, CHANNELS).weight

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """The mean over the batch."""
        cosine = F.linear(F.normalize(features), F.normalize(self.weight))
        own = cosine.gather(1, labels.unsqueeze(1))
        moved = torch.cos(own.clamp(-1 + 1e-7, 1 - 1e-7).acos() + 0.5)
        logits = 32 * cosine.scatter(1, labels.unsqueeze(1), moved)
        return F.cross_entropy(logits, labels)


def peak(call: Callable[[], Any]) -> int:
    """The peak of the bytes of all tensors during a call."""
    with profile(
            activities=[ProfilerActivity.CPU],
            profile_memory=True) as profiler:
        call()
    events = profiler.profiler.kineto_results.events()
    changes = sorted([(event.start_ns(), event.nbytes()) for event in events
                      if event.name() == '[memory]'])
    return max(itertools.accumulate([change for _, change in changes]))


def step(rank: int, line: Line, rounds: int, threads: int,
         store: str) -> Tuple[float, int, int]:
    """Seconds, peak and bytes of the vectors, over some steps."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ranks = line.get('ranks', 1)
    if line['how'] == 'shards':
        dist.init_process_group(
            'gloo', init_method=store, rank=rank, world_size=ranks)
    loss: torch.nn.Module
    if line['how'] == 'plain':
        loss = PlainArcFace(line['classes'])
    else:
        kwargs: Dict[str, Any] = dict(
            dense={},
            chunks=dict(chunk_size=CHUNK),
            shards=dict(chunk_size=CHUNK, shard_classes=True))[line['how']]
        loss = ArcFaceLoss(line['classes'], CHANNELS, **kwargs)
    # All ranks together have the batch.
    features = torch.randn(BATCH, CHANNELS)[rank::ranks].requires_grad_()
    labels = torch.randint(line['classes'], (BATCH, ))[rank::ranks]

    def call() -> None:
        loss.weight.grad = features.grad = None
        loss(features, labels).backward()

    memory = peak(call)
    seconds = []
    for _ in range(rounds):
        if ranks > 1:
            dist.barrier()
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    gradients = loss.weight.numel() * 4
    if line['how'] == 'shards':
        dist.destroy_process_group()
    return statistics.median(seconds), memory - gradients, 2 * gradients


def measure(line: Line, rounds: int) -> Line:
    """Run a line in new processes; the slowest and largest count."""
    ranks = line.get('ranks', 1)
    context = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(
            ranks, mp_context=context) as pool:
        args = line, rounds, max(1, 2 // ranks), f'file://{folder}/store'
        tasks = [pool.submit(step, rank, *args) for rank in range(ranks)]
        found = [task.result() for task in tasks]
    seconds, memory, vectors = [max(values) for values in zip(*found)]
    return dict(line, seconds=seconds, memory=memory, vectors=vectors)


def table(results: List[Line]) -> str:
    """The lines, in Markdown."""
    names = dict(
        plain='the formula by autograd',
        dense='`ArcFaceLoss`',
        chunks=f'`chunk_size={CHUNK}`',
        shards=f'`chunk_size={CHUNK}, shard_classes=True`')
    rows = [
        '| how | classes | ranks | s | MiB at the peak | vectors and their '
        'gradient, MiB |', '| --- ' * 6 + '|'
    ]
    for line in results:
        rows.append(
            f'| {names[line["how"]]} | {line["classes"]:,} '
            f'| {line.get("ranks", 1)} | {line["seconds"]:.2f} '
            f'| {line["memory"] / MIB:.0f} | {line["vectors"] / MIB:.0f} |')
    by = {(x['how'], x['classes']): x for x in results if 'ranks' not in x}
    chunks, dense = [by.get((how, 200_000)) for how in ('chunks', 'dense')]
    if chunks and dense:
        rows.append(
            f'\nChunks take {chunks["memory"] / dense["memory"]:.2f} of the '
            f'memory and {chunks["seconds"] / dense["seconds"]:.2f} of the '
            'time of the dense form with 200,000 classes; goals 0.25 and 1.3.')
    rows.append(f'\n{BATCH} features of {CHANNELS} numbers, all ranks '
                f'together, on {machine()}. No GPU was measured.')
    return '\n'.join(rows)


def run(rounds: int, small: bool) -> str:
    """Measure all lines and return the table."""
    results = []
    for line in lines():
        if small:
            line['classes'] //= 1000
        results.append(measure(line, rounds))
        print(results[-1], flush=True)
    return table(results)
