"""Run a test's function in several processes that know each other."""
import gc
import os
import tempfile

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

needs_ranks = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason='needs torch.distributed with gloo')


def run_ranks(function, *args, ranks=2):
    """Call ``function(rank, *args)`` in ``ranks`` processes over gloo."""
    with tempfile.TemporaryDirectory() as folder:
        store = f'file://{os.path.join(folder, "store")}'
        mp.spawn(join, args=(ranks, store, function, args), nprocs=ranks)


def join(rank, ranks, store, function, args):
    """What one process does.

    Wrapped models of ``function`` must be gone before the process ends: the
    threads that they keep alive abort it while Python shuts down.
    """
    dist.init_process_group(
        'gloo', init_method=store, rank=rank, world_size=ranks)
    function(rank, *args)
    gc.collect()
    dist.destroy_process_group()
