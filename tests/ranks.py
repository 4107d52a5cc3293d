"""Run a function in several processes of one process group."""
import gc
import os
import subprocess
import sys
import tempfile

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers import ROOT

needs_ranks = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason='needs torch.distributed with gloo')


def run_ranks(function, *args, ranks=2):
    """Call ``function(rank, *args)`` in ``ranks`` processes over gloo."""
    with tempfile.TemporaryDirectory() as folder:
        store = f'file://{os.path.join(folder, "store")}'
        mp.spawn(join, args=(ranks, store, function, args), nprocs=ranks)


def join(rank, ranks, store, function, args):
    """The main function of one process.

    DDP models of ``function`` must be deleted before the process ends:
    their threads would abort it during shutdown.
    """
    dist.init_process_group(
        'gloo', init_method=store, rank=rank, world_size=ranks)
    function(rank, *args)
    gc.collect()
    dist.destroy_process_group()


def launch_training(config, work_dir, world, *options):
    """Run tools/train.py in several processes, as users do."""
    command = [sys.executable]
    if world > 1:
        command += ['-m', 'torch.distributed.run', '--standalone']
        command += [f'--nproc_per_node={world}']
        options += ('--launcher', 'pytorch')
    command += [ROOT / 'tools/train.py', config, '--work-dir', work_dir]
    # The modules beside the tests must be importable too.
    path = os.pathsep.join([os.path.dirname(__file__), str(ROOT)])
    return subprocess.run([str(word) for word in (*command, *options)],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True,
                          env=dict(os.environ, PYTHONPATH=path))
