"""Time and memory of ArcFace with many classes.

One step, forward and backward, in its own process for each line: with all
logits at once, in chunks, and with the classes sharded over ranks. Memory is
the peak of the tensors of a step, without class vectors and their gradient.
One rank of many runs alone, with collectives that return at once; what more
ranks need follows from the measured constants.
"""
from __future__ import annotations
import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Dict, List, Tuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from mmlosses.losses import ArcFaceLoss
from .measure import MIB, Call, machine, peak_bytes

BATCH, CHANNELS, CHUNK = 256, 512, 5_000

# The classes of which one rank is measured, and the features on paper.
MANY, FEATURES = 10_000_000, 4_096

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
        dict(how='one rank', classes=MANY, ranks=64),
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


def step(rank: int, line: Line, rounds: int, threads: int,
         store: str) -> Tuple[float, int, int]:
    """Seconds, peak and bytes of the vectors, over some steps."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ranks = line.get('ranks', 1)
    sharded = line['how'] in ('shards', 'one rank')
    if line['how'] == 'shards':
        dist.init_process_group(
            'gloo', init_method=store, rank=rank, world_size=ranks)
    elif sharded:
        from torch.testing._internal.distributed.fake_pg import FakeStore
        dist.init_process_group(
            'fake', store=FakeStore(), rank=rank, world_size=ranks)
    loss: torch.nn.Module
    if line['how'] == 'plain':
        loss = PlainArcFace(line['classes'])
    else:
        loss = ArcFaceLoss(
            line['classes'],
            CHANNELS,
            chunk_size=None if line['how'] == 'dense' else CHUNK,
            shard_classes=sharded)
    # All ranks together have the batch.
    features = torch.randn(BATCH, CHANNELS)[rank::ranks].requires_grad_()
    labels = torch.randint(line['classes'], (BATCH, ))[rank::ranks]

    call, leaves = Call(loss, features, labels), [features, loss.weight]
    memory = peak_bytes(call)
    seconds = []
    for _ in range(rounds):
        if ranks > 1:
            dist.barrier()
        seconds.append(call.seconds(leaves, 1))
    gradients = loss.weight.numel() * 4
    if sharded:
        dist.destroy_process_group()
    return statistics.median(seconds), memory - gradients, 2 * gradients


def measure(line: Line, rounds: int) -> Line:
    """Run a line in new processes; the slowest and largest count."""
    ranks = 1 if line['how'] == 'one rank' else line.get('ranks', 1)
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
    names['one rank'] = f'{names["shards"]}, one rank alone'
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
                f'together, on {machine()}. No GPU was measured. One rank '
                'alone does not wait: what it exchanges returns at once.')
    return '\n'.join([*rows, *on_paper(results)])


def on_paper(results: List[Line]) -> List[str]:
    """What ten million classes need on each of many ranks.

    All ranks exchange the features, and the gradients of them by a ring, which
    moves twice the size of a tensor.
    """
    line = max([line for line in results if line['how'] == 'chunks'],
               key=lambda line: line['classes'])
    each = line['seconds'] / line['classes'] / BATCH
    rows = [
        f'\n{MANY:,} classes and {FEATURES:,} features of all ranks together, '
        f'computed from these {1e9 * each:.0f} ns for a feature and a class:',
        '\n| ranks | vectors, gradient, momentum, MiB a rank '
        '| traffic of a rank and step, MiB | s a step, without traffic |',
        '| --- ' * 4 + '|'
    ]
    for ranks in (8, 64, 512):
        classes = MANY / ranks
        held = 3 * 4 * CHANNELS * classes / MIB
        traffic = 3 * 4 * CHANNELS * FEATURES * (1 - 1 / ranks) / MIB
        rows.append(f'| {ranks} | {held:,.0f} | {traffic:.0f} '
                    f'| {each * FEATURES * classes:.1f} |')
    return rows


def run(rounds: int, small: bool) -> str:
    """Measure all lines and return the table."""
    results = []
    for line in lines():
        if small:
            line['classes'] //= 1000
        results.append(measure(line, rounds))
        print(results[-1], flush=True)
    return table(results)
