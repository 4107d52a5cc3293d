"""How tools/train.py saves and reads: nothing is lost, nothing is executed."""
from __future__ import annotations
import glob
import os
import os.path as osp
import pickle
import re
import zipfile
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.fileio import (LocalBackend, PickleHandler, get_file_backend,
                             register_handler)
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner, find_latest_checkpoint, set_random_seed
from mmengine.utils import digit_version

from mmlosses.cli import explain
from mmlosses.hooks.curves import INFO_KEY


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed, and why."""

    def __init__(self, path: str, cause: BaseException) -> None:
        super().__init__(f'{path} cannot be resumed: {reason(cause)}')


def reason(cause: BaseException) -> str:
    """What is wrong with a checkpoint, without torch's advice to trust it."""
    text = explain(cause)
    held = re.search(r'GLOBAL (\S+)|it holds (\S+)', text)
    if held and 'TorchScript' not in text:
        return f'it holds {held[1] or held[2]}, which could run code'
    if isinstance(cause, (EOFError, pickle.UnpicklingError)) or re.search(
            "PytorchStreamReader|Invalid magic number|No state_dict|'list'"
            '|TorchScript', text):
        return 'it is damaged, or no checkpoint'
    if isinstance(cause, KeyError):
        return f'it has no {text}'
    return text if len(text) < 300 else f'{text[:300]} ...'


# Reading

# What pickles of tensors, arrays and plain values call, beside the storages
# of torch, which it makes itself.
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
    """The only use that a checkpoint has for ``getattr``."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(f'it holds getattr({owner}, {name})')
    return getattr(owner, name)


class TrustedUnpickler(pickle.Unpickler):
    """Reads a pickle that calls nothing but what is trusted."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for."""
        path = f'{module}.{name}'
        if path in ('builtins.getattr', '__builtin__.getattr'):
            return history_statistic
        dtype = module == 'torch' and isinstance(
            getattr(torch, name, None), torch.dtype)
        if path not in TRUSTED and not dtype:
            raise pickle.UnpicklingError(f'it holds {path}')
        return super().find_class(module, name)


class TrustedPickle:
    """What torch takes for the module ``pickle``."""
    Unpickler = TrustedUnpickler

    @staticmethod
    def load(file: Any, **kwargs: Any) -> Any:
        """Read the next object of a file."""
        return TrustedUnpickler(file, **kwargs).load()


class TrustedPickleHandler(PickleHandler):
    """Reads annotations; mmengine executes what is in them."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Read a file."""
        return TrustedPickle.load(file, **kwargs)


@contextmanager
def trusted_files() -> Iterator[None]:
    """Read checkpoints and annotations without executing what is in them.

    Since torch 2.6 it refuses all but tensors, unless told which types to
    trust. mmengine 0.10.7 saves the history of its log too and does not tell;
    onedl-mmengine tells, and loads what is refused all the same. Before, its
    own refusal could be got round (CVE-2025-32434).
    """
    version = digit_version(torch.__version__)
    with ExitStack() as stack:
        register_handler(['pickle', 'pkl'])(TrustedPickleHandler)
        stack.callback(register_handler(['pickle', 'pkl']), PickleHandler)
        if 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' in os.environ:
            pass
        elif version >= digit_version('2.6.0'):
            stack.enter_context(
                mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD='1'))
            array = np.zeros(1)
            rebuild: List[Any] = [x.__reduce__()[0] for x in (array, array[0])]
            numbers = [type(np.dtype(code)) for code in '?bhilqBHILQefd']
            # The second names what it stands for in the checkpoint.
            history = [HistoryBuffer, (history_statistic, 'builtins.getattr')]
            allowed = [*history, np.ndarray, np.dtype, *rebuild, *numbers]
            stack.enter_context(torch.serialization.safe_globals(allowed))
        else:
            stack.enter_context(
                mock.patch.object(torch, 'load', load_with(torch.load)))
        yield


def load_with(torch_load: Callable) -> Callable:
    """An older ``torch.load``, with the pickles that are trusted."""

    def load(file: Any, map_location: Any = None, **_: Any) -> Any:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                names = [osp.basename(name) for name in archive.namelist()]
            if 'constants.pkl' in names:
                raise pickle.UnpicklingError('it holds TorchScript')
        if hasattr(file, 'seek'):
            file.seek(0)
        return torch_load(file, map_location, pickle_module=TrustedPickle)

    return load


def latest_checkpoint(work_dir: str) -> str | None:
    """The checkpoint to go on from, None where there is none.

    It is the one that mmengine has noted. Where the note is empty, or names
    what is not there, as in a folder that was moved, it is the last of the
    folder.
    """
    noted = find_latest_checkpoint(work_dir)
    if noted and osp.isfile(noted):
        return noted
    whole = [
        path for path in glob.glob(osp.join(glob.escape(work_dir), '*.pth'))
        if re.fullmatch(r'(epoch|iter)_\d+\.pth', osp.basename(path))
    ]
    return max(whole, key=osp.getmtime, default=None)


def take_seed(cfg: Config) -> None:
    """Draw the samples in the order of the training that is resumed.

    mmengine takes the seed from the checkpoint after it has made the sampler.
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


class LateRemovalHook(CheckpointHook):
    """Removes a checkpoint when the one in its place is there, not before."""

    @contextmanager
    def removing_last(self) -> Iterator[None]:
        """Keep what is to be removed until the end."""
        late: List[str] = []
        self.file_backend.remove = late.append
        try:
            yield
        finally:
            del self.file_backend.remove
        for path in late:
            self.file_backend.remove(path)

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """See :class:`CheckpointHook`."""
        with self.removing_last():
            super().after_train_iter(*args, **kwargs)

    def after_train_epoch(self, *args: Any, **kwargs: Any) -> None:
        """See :class:`CheckpointHook`."""
        with self.removing_last():
            super().after_train_epoch(*args, **kwargs)

    def after_val_epoch(self, *args: Any, **kwargs: Any) -> None:
        """See :class:`CheckpointHook`."""
        with self.removing_last():
            super().after_val_epoch(*args, **kwargs)


class SameCurveHook(Hook):
    """Makes a resumed training go on as the undisturbed one would have."""

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Validate where the training ended before it had done so.

        mmengine saves at the end of an epoch, and validates then.
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
        """Draw the same random numbers in an epoch, whatever was before."""
        set_random_seed(
            (runner.seed + runner.epoch) % 2**32,
            diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))


class CarefulRunner(Runner):
    """mmengine's runner, for which saving and resuming may go wrong."""

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Put :class:`LateRemovalHook` in the place of its parent."""
        if isinstance(hook, dict) and hook.get('type') == 'CheckpointHook':
            hook = dict(hook, type=LateRemovalHook)
        super().register_hook(hook, priority)

    def load_or_resume(self) -> None:
        """Say which checkpoint is wrong, and what is."""
        try:
            super().load_or_resume()
        except Exception as error:
            raise CheckpointError(self._load_from, error) from error

    def load_checkpoint(self,
                        filename: str,
                        map_location: Any = 'cpu',
                        strict: bool = False,
                        **kwargs: Any) -> Dict[str, Any]:
        """Resume all weights or none, and no config.

        mmengine would evaluate a config in ``meta``, to look for GPUs that no
        config has named for years.
        """
        checkpoint = super().load_checkpoint(filename, map_location, strict
                                             or self._resume, **kwargs)
        checkpoint.get('meta', {}).pop('config', None)
        return checkpoint

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any,
                        **kwargs: Any) -> None:
        """Save under another name first: a file is whole or not there."""
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
