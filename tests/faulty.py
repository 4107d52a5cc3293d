"""Modules and hooks that break the trainings of test_faults.py."""
import os
import resource
import signal

import torch
from mmengine.hooks import Hook

from mmlosses.demo import DigitNet


class NoisyNet(DigitNet):
    """A model that draws random numbers in each iteration."""

    def forward(self, inputs, *args, **kwargs):
        noisy = torch.nn.functional.dropout(inputs, 0.2, self.training)
        return super().forward(noisy, *args, **kwargs)


class Kill(Hook):
    """Kill the process at a given place.

    Args:
        place (str): Method of a hook, or ``'writing'``: in the middle of a
            checkpoint.
        iteration (int): The iteration to wait for.
    """

    def __init__(self, place, iteration):
        self.place = place
        self.iteration = iteration

    def die(self, runner, place):
        if place == self.place and runner.iter >= self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)

    def after_train_iter(self, runner, *args, **kwargs):
        self.die(runner, 'after_train_iter')

    def before_val_epoch(self, runner):
        self.die(runner, 'before_val_epoch')

    def before_save_checkpoint(self, runner, checkpoint):
        if self.place == 'writing' and runner.iter >= self.iteration:
            # Python would ignore this signal and raise an error instead.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))


class SaveFirst(Hook):
    """Save the initial state of a training, after it has resumed."""

    def before_train(self, runner):
        runner.save_checkpoint(runner.work_dir, 'first.pth')
