"""Logged values that stay on their device until the log is read."""
from __future__ import annotations
import itertools
import weakref
from typing import Any, Dict, List, Tuple

import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor, nn

# At most as many wait where nothing reads the log: 512 bytes each on a GPU.
MOST_WAITING = 1000

# The module that logs under a name, for each log.
OWNERS: Any = weakref.WeakKeyDictionary()


def read_first(name: str) -> property:
    """An attribute of ``HistoryBuffer`` that includes the waiting values."""

    def read(history: DeviceHistory) -> Any:
        history.read()
        return vars(history)[name]

    def write(history: DeviceHistory, value: Any) -> None:
        history.__dict__[name] = value

    return property(read, write)


class DeviceHistory(HistoryBuffer):
    """mmengine's history of a value, filled without host synchronisation.

    ``MessageHub.update_scalar`` synchronises for each value. Here tensors
    wait until ``LoggerHook``, a checkpoint or anybody else reads the log.
    Copied or pickled, it is a plain :class:`mmengine.logging.HistoryBuffer`,
    so that checkpoints need no mmlosses to be read.
    """
    _log_history = read_first('_log_history')
    _count_history = read_first('_count_history')

    def __init__(self, history: HistoryBuffer | None = None) -> None:
        self.waiting: List[Tensor] = []
        self.iteration: int | None = None
        super().__init__(*(([], []) if history is None else history.data))

    def add(self, value: Tensor, iteration: int | None) -> None:
        """Log a value, or add it to that of the same iteration.

        Heads call one loss for each level, and log the sum.
        """
        if self.waiting and iteration == self.iteration is not None:
            self.waiting[-1] = self.waiting[-1] + value
            return
        if len(self.waiting) >= MOST_WAITING:
            self.read()
        self.waiting.append(value)
        self.iteration = iteration

    def read(self) -> None:
        """Take all waiting numbers from the device at once."""
        waiting, self.waiting = self.waiting, []
        for value in torch.stack(waiting).tolist() if waiting else ():
            self.update(value)

    def __reduce_ex__(self, protocol: Any) -> Tuple[Any, Any]:
        values, counts = self.data
        return HistoryBuffer, (values.copy(), counts.copy())


def log_values(owner: nn.Module, name: str, values: Dict[str, Tensor]) -> None:
    """Log tensors of one number beside the losses, as ``train/name.key``.

    A second owner of a name has a number appended: ``train/name_2.key``.
    """
    # `get_current_instance` would make a hub where there is none.
    if not MessageHub._instance_dict:
        return
    # Fake tensors and the like have no numbers to read later.
    if any([type(value) is not Tensor for value in values.values()]):
        return
    hub = MessageHub.get_current_instance()
    prefix = own_prefix(hub, owner, name)
    for key, value in values.items():
        key = f'train/{prefix}.{key}'
        history = hub.log_scalars.get(key)
        if history is None:
            hub.update_scalar(key, 0.0)  # marks it to be saved
        if not isinstance(history, DeviceHistory):
            history = hub.log_scalars[key] = DeviceHistory(history)
        history.add(value, hub.runtime_info.get('iter'))


def own_prefix(hub: MessageHub, owner: nn.Module, name: str) -> str:
    """A name that no other module has in a hub."""
    owners = OWNERS.setdefault(hub, {})
    for number in itertools.count(1):
        prefix = name if number == 1 else f'{name}_{number}'
        known = owners[prefix]() if prefix in owners else None
        if known is None or known is owner:
            break
    owners[prefix] = weakref.ref(owner)
    return prefix
