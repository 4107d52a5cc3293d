"""Save checkpoints atomically, resume exactly, never execute a file."""
from __future__ import annotations
import functools
import glob
import logging
import os
import os.path as osp
import pickle
import re
import zipfile
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.fileio import LocalBackend, PickleHandler, get_file_backend
from mmengine.fileio.handlers import file_handlers
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner, find_latest_checkpoint, set_random_seed

from mmlosses.cli import explain
from mmlosses.hooks.curves import INFO_KEY
from mmlosses.trusted import TrustedUnpickler


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed, with the reason."""

    def __init__(self, path: str, cause: BaseException) -> None:
        super().__init__(f'{path} cannot be resumed: {reason(cause)}')


def reason(cause: BaseException) -> str:
    """Say in one line what is wrong with a checkpoint."""
    text = explain(cause)
    held = re.search(r'it holds (\S+)', text)
    if held:
        return f'it holds {held[1]}, which could run code'
    if isinstance(cause, (EOFError, pickle.UnpicklingError)) or re.search(
            "PytorchStreamReader|Invalid magic number|No state_dict|'list'",
            text):
        return 'it is damaged, or no checkpoint'
    if isinstance(cause, KeyError):
        return f'it has no {text}'
    return text if len(text) < 300 else f'{text[:300]} ...'


# Reading

# The callables in pickles of tensors, arrays and plain values. torch creates
# the storages itself.
TRUSTED = {
    '_codecs.encode',
    'builtins.set',
    '__builtin__.set',
    'collections.OrderedDict',
    'mmengine.logging.history_buffer.HistoryBuffer',
    'numpy.dtype',
    'numpy.ndarray',
    # NumPy 2 renamed the module.
    *[
        f'numpy.{core}.multiarray.{name}' for core in ('core', '_core')
        for name in ('_reconstruct', 'scalar')
    ],
    'torch.Size',
    'torch.device',
    'torch._utils._rebuild_parameter',
    'torch._utils._rebuild_tensor_v2',
}


def history_statistic(owner: type, name: str) -> Callable:
    """The only ``getattr`` that a checkpoint needs."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(f'it holds getattr({owner}, {name})')
    return getattr(owner, name)


class CheckpointUnpickler(TrustedUnpickler):
    """Reads tensors, arrays, plain values and mmengine's history."""

    def trusted(self, path: str) -> Any:
        if path in ('builtins.getattr', '__builtin__.getattr'):
            return history_statistic
        module, _, name = path.rpartition('.')
        is_dtype = module == 'torch' and isinstance(
            getattr(torch, name, None), torch.dtype)
        if path not in TRUSTED and not is_dtype:
            raise KeyError(path)
        return pickle.Unpickler.find_class(self, module, name)


class TrustedPickle(PickleHandler):
    """Stands in for the module ``pickle`` and for mmengine's handler."""
    Unpickler = CheckpointUnpickler

    @staticmethod
    def load(file: Any, **kwargs: Any) -> Any:
        """Load the next object of a file, for torch."""
        return CheckpointUnpickler(file, **kwargs).load()

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Load a file, for mmengine."""
        return self.load(file, **kwargs)


@contextmanager
def trusted_files() -> Iterator[None]:
    """Read checkpoints and annotations without executing what they hold.

    ``weights_only=True`` of torch does not replace this: before torch 2.6 it
    could be bypassed (CVE-2025-32434), it refuses the log history that
    mmengine saves, and onedl-mmengine turns it off after a refusal.
    """
    with ExitStack() as stack:
        handler = TrustedPickle()
        stack.enter_context(
            mock.patch.dict(file_handlers, pickle=handler, pkl=handler))
        if 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ:
            stack.enter_context(
                mock.patch.object(torch, 'load', trusted(torch.load)))
        yield


def trusted(torch_load: Callable) -> Callable:
    """Restrict ``torch.load`` to trusted pickles."""

    def load(file: Any, map_location: Any = None, **_: Any) -> Any:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                names = [osp.basename(name) for name in archive.namelist()]
            if 'constants.pkl' in names:
                raise pickle.UnpicklingError('this is TorchScript')
        if hasattr(file, 'seek'):
            file.seek(0)
        with mock.patch.dict(os.environ):
            # torch would refuse another unpickler than its own.
            os.environ.pop('TORCH_FORCE_WEIGHTS_ONLY_LOAD', None)
            return torch_load(
                file,
                map_location,
                pickle_module=TrustedPickle,
                weights_only=False)

    return load


def latest_checkpoint(work_dir: str) -> str | None:
    """Find the checkpoint to resume, None without any.

    It is the one that mmengine noted. If the note is empty or outdated, as
    in a folder that was moved, it is the last one of the folder.
    """
    noted = find_latest_checkpoint(work_dir)
    if noted and osp.isfile(noted):
        return noted
    complete = [
        path for path in glob.glob(osp.join(glob.escape(work_dir), '*.pth'))
        if re.fullmatch(r'(epoch|iter)_\d+\.pth', osp.basename(path))
    ]
    return max(complete, key=osp.getmtime, default=None)


def take_seed(cfg: Config) -> None:
    """Use the seed of the checkpoint, for the same order of samples.

    mmengine reads it only after it has built the sampler.
    """
    randomness = cfg.get('randomness') or {}
    if cfg.load_from is None or randomness.get('seed') is not None:
        return
    try:
        meta = torch.load(cfg.load_from, map_location='cpu')['meta']
        cfg.randomness = dict(randomness, seed=meta['seed'])
    except Exception as error:
        raise CheckpointError(cfg.load_from, error) from error


# Saving


def remove_late(method: Callable[..., None]) -> Callable[..., None]:
    """Let a method of CheckpointHook remove files only at its end."""

    @functools.wraps(method)
    def call(self: CheckpointHook, *args: Any, **kwargs: Any) -> None:
        late: List[str] = []
        self.file_backend.remove = late.append
        try:
            method(self, *args, **kwargs)
        finally:
            del self.file_backend.remove
        for path in late:
            self.file_backend.remove(path)

    return call


class LateRemovalHook(CheckpointHook):
    """Removes an old checkpoint after the new one is saved, not before."""
    after_train_iter = remove_late(CheckpointHook.after_train_iter)
    after_train_epoch = remove_late(CheckpointHook.after_train_epoch)
    after_val_epoch = remove_late(CheckpointHook.after_val_epoch)


class SameCurveHook(Hook):
    """Makes a resumed training continue the same curve."""

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Run the validation that was due when the training ended.

        mmengine saves at the end of an epoch, and validates afterwards.
        """
        loop, val_loop = runner.train_loop, runner.val_loop
        validated = runner.message_hub.runtime_info.get(INFO_KEY, [])
        if (val_loop is None or loop.iter == 0 or runner.iter in validated
                or not hasattr(loop, 'val_interval')):
            return
        by_epoch = 'Epoch' in type(loop).__name__
        done, end = ((loop.epoch, loop.max_epochs) if by_epoch else
                     (loop.iter, loop.max_iters))
        if done >= loop.val_begin and (done % loop.val_interval == 0
                                       or done == end):
            val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Make the random numbers of an epoch depend on nothing before."""
        set_random_seed(
            (runner.seed + runner.epoch) % 2**32,
            diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))


def is_no_dump(record: logging.LogRecord) -> bool:
    """False for the pages of text that mmengine logs before a training."""
    return not record.getMessage().lstrip('\n-').startswith(
        ('System environment:', 'Config:\n', 'Hooks will be executed'))


class CarefulRunner(Runner):
    """A runner that saves atomically and resumes strictly."""

    def build_logger(self, *args: Any, **kwargs: Any) -> logging.Logger:
        """Log environment, config and hooks to the file only."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                logger.info('Environment, config and hooks: '
                            f'{handler.baseFilename}')
            else:
                handler.addFilter(is_no_dump)
        return logger

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Replace CheckpointHook by :class:`LateRemovalHook`."""
        if isinstance(hook, dict) and hook.get('type') == 'CheckpointHook':
            hook = dict(hook, type=LateRemovalHook)
        super().register_hook(hook, priority)

    def load_or_resume(self) -> None:
        """Say which checkpoint is wrong, and why."""
        try:
            super().load_or_resume()
        except Exception as error:
            raise CheckpointError(self._load_from, error) from error

    def load_checkpoint(self,
                        filename: str,
                        map_location: Any = 'cpu',
                        strict: bool = False,
                        **kwargs: Any) -> Dict[str, Any]:
        """Resume all weights or none, and drop the config.

        mmengine would evaluate a config in ``meta``.
        """
        checkpoint = super().load_checkpoint(filename, map_location, strict
                                             or self._resume, **kwargs)
        checkpoint.get('meta', {}).pop('config', None)
        return checkpoint

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any,
                        **kwargs: Any) -> None:
        """Save to a temporary name and rename: a file is whole or absent."""
        if not isinstance(get_file_backend(out_dir), LocalBackend):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        path = osp.join(out_dir, filename)
        part = f'{path}.part'
        try:
            super().save_checkpoint(out_dir, osp.basename(part), *args,
                                    **kwargs)
            os.replace(part, path)
        except OSError as error:
            if osp.exists(part):
                os.remove(part)
            raise OSError(error.errno, error.strerror, path) from error
