"""Time and memory of calls that compute the same."""
from __future__ import annotations
import ctypes
import functools
import itertools
import math
import platform
import random
import statistics
import time
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

MIB = 2**20
OURS, LIMIT = 'mmlosses', 'limit'
COMPILED = 'mmlosses, compiled'


class Call:
    """A function with its arguments, which returns one number.

    Args:
        function (Callable, optional): None if its package is missing.
        args: Its arguments.
    """

    def __init__(self, function: Callable[..., Any] | None, *args:
                 Any) -> None:
        self.function = function
        self.args = args

    def __call__(self) -> Any:
        assert self.function is not None, 'its package is missing'
        loss = self.function(*self.args)
        if isinstance(loss, dict):
            loss = list(loss.values())
        return sum(loss) if isinstance(loss, (list, tuple)) else loss

    def step(self, leaves: Sequence[Tensor]) -> None:
        """Run forward and backward once."""
        for leaf in leaves:
            leaf.grad = None
        self().backward()

    def seconds(self, leaves: Sequence[Tensor], repeats: int) -> float:
        """Time a step; on a GPU, between two events of its stream."""
        on_gpu = leaves[0].is_cuda
        if on_gpu:
            begin, end = [
                torch.cuda.Event(enable_timing=True) for _ in range(2)
            ]
            begin.record()
        before = time.perf_counter()
        for _ in range(repeats):
            self.step(leaves)
        taken = time.perf_counter() - before
        if on_gpu:
            end.record()
            end.synchronize()
            taken = begin.elapsed_time(end) / 1000
        for leaf in leaves:
            leaf.grad = None
        return taken / repeats

    def inputs(self) -> List[Tensor]:
        """The tensors that exist without the call."""
        found: List[Tensor] = []
        pending: List[Any] = [*self.args, self.function]
        while pending:
            item = pending.pop()
            if isinstance(item, Tensor):
                found.append(item)
            elif isinstance(item, (tuple, list)):
                pending += item
            elif isinstance(item, dict):
                pending += item.values()
            elif isinstance(item, functools.partial):
                pending += [item.func, *item.args, *item.keywords.values()]
            elif isinstance(item, nn.Module):
                found += [*item.parameters(), *item.buffers()]
        return found


def leaves_of(loss: Tensor) -> List[Tensor]:
    """The leaves of the graph of a loss."""
    found, seen, pending = [], set(), [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            found.append(node.variable)
        pending += [following for following, _ in node.next_functions]
    return found


def keep_memory() -> None:
    """Let the allocator keep freed memory, as torch does on a GPU.

    Otherwise the kernel clears the pages of each large tensor, which takes a
    time that depends on the other load.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:  # of glibc
        mallopt(-4, 0)  # M_MMAP_MAX
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


class Kept:
    """A tensor that a graph saves for its backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def saved_bytes(call: Call) -> Tuple[int, int]:
    """The bytes saved for backward: without and with inputs and parameters.

    All views of a storage count once. Inputs and parameters may outlive the
    call anyway, hence both numbers.
    """
    kept: weakref.WeakSet[Kept] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Kept:
        item = Kept(tensor)
        kept.add(item)
        return item

    given = {x.untyped_storage().data_ptr() for x in call.inputs()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x.tensor):
        loss = call()
    # Graphs within the forward pass are gone by now.
    storages = [item.tensor.untyped_storage() for item in kept]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    del loss
    new = sum([size for key, size in sizes.items() if key not in given])
    return new, sum(sizes.values())


def peak_bytes(call: Call) -> int:
    """The peak of the bytes of all tensors that a step adds."""
    leaves = leaves_of(call())
    call.step(leaves)  # warm up
    for leaf in leaves:
        leaf.grad = None
    if leaves[0].is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call.step(leaves)
        return torch.cuda.max_memory_allocated() - before
    with profile(
            activities=[ProfilerActivity.CPU],
            profile_memory=True) as profiler:
        call.step(leaves)
    events = profiler.profiler.kineto_results.events()
    changes = sorted([(event.start_ns(), event.nbytes()) for event in events
                      if event.name() == '[memory]'])
    return max(itertools.accumulate([change for _, change in changes]))


def operators(call: Call, steps: int = 50) -> Dict[str, float]:
    """Milliseconds that a step spends in each operator itself, most first."""
    leaves = leaves_of(call())
    for _ in range(steps):  # warm up
        call.step(leaves)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            call.step(leaves)
    taken = {
        event.key: event.self_cpu_time_total / 1000 / steps
        for event in profiler.key_averages()
    }
    return dict(sorted(taken.items(), key=lambda item: -item[1]))


def time_calls(calls: Dict[str, Call],
               rounds: int,
               least: float = 0.01) -> Dict[str, List[float]]:
    """Seconds of each call in each round, the calls in random order.

    A round repeats a call until it has run for ``least`` seconds.
    """
    leaves, repeats = {}, {}
    for name, call in calls.items():
        leaves[name] = leaves_of(call())
        call.step(leaves[name])
        repeats[name] = math.ceil(least / call.seconds(leaves[name], 1))
    seconds: Dict[str, List[float]] = {name: [] for name in calls}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(sorted(calls), len(calls)):
            seconds[name].append(calls[name].seconds(leaves[name],
                                                     repeats[name]))
    return seconds


def ratio(ones: Sequence[float], others: Sequence[float]) -> List[float]:
    """Quartiles of the ratio in each round."""
    ratios = [one / other for one, other in zip(ones, others)]
    if len(ratios) < 2:
        return ratios * 3
    return statistics.quantiles(ratios, n=4, method='inclusive')


def measure(calls: Dict[str, Call], rounds: int) -> Dict[str, Any]:
    """The results of one row."""
    missing = [name for name, call in calls.items() if call.function is None]
    calls = {k: call for k, call in calls.items() if k not in missing}
    seconds = time_calls(calls, rounds)
    compiled = seconds.get(COMPILED)
    return {
        'missing': sorted(missing),
        'calls': {
            name: {
                'seconds': statistics.median(seconds[name]),
                'ratio': ratio(seconds[OURS], seconds[name]),
                'compiled_ratio': compiled and ratio(compiled, seconds[name]),
                'saved': saved_bytes(call),
                'peak': peak_bytes(call)
            }
            for name, call in calls.items()
        }
    }


def machine(device: str = 'cpu') -> str:
    """The processor, or GPU, and torch that were measured."""
    release = f'torch {torch.__version__.partition("+")[0]}'
    if device == 'cuda':
        return f'{torch.cuda.get_device_name()}, {release}'
    cpu = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.exists():
        for text in info.read_text().splitlines():
            if text.startswith('model name'):
                cpu = text.partition(':')[2].strip()
                break
    threads = torch.get_num_threads()
    return (f'{cpu}, {threads} thread{"s" if threads > 1 else ""}, '
            f'{release}')
