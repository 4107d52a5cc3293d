"""A log of numbers that stay on their device until somebody reads it."""
from __future__ import annotations
import itertools
import weakref
from typing import Any, Dict, List, MutableMapping, Tuple

import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor, nn

# So many may wait where nothing is ever logged: 512 bytes each on a GPU.
MOST_WAITING = 1000

# Who logs under a name, for each log.
OWNERS: MutableMapping[MessageHub, Dict[str, Any]] = (
    weakref.WeakKeyDictionary())


class DeviceHistory(HistoryBuffer):
    """What mmengine keeps of a logged value, filled without a wait.

    ``MessageHub.update_scalar`` takes the number out of a tensor, for which
    the host waits for the device. Here tensors wait until ``LoggerHook``, a
    checkpoint or anybody else reads the log. Copied or pickled, it is a plain
    :class:`mmengine.logging.HistoryBuffer`, so that checkpoints need no
    mmlosses to be read.

    Args:
        history (HistoryBuffer, optional): What was logged before.
            Default: None.
    """

    def __init__(self, history: HistoryBuffer | None = None) -> None:
        super().__init__(*(([], []) if history is None else history.data))
        self.waiting: List[Tensor] = []
        self.iteration: int | None = None

    def add(self, value: Tensor, iteration: int | None) -> None:
        """Log a value, or add it to that of the same iteration.

        Heads call one loss for each level, and log the sum.
        """
        if self.waiting and iteration is not None and (iteration
                                                       == self.iteration):
            self.waiting[-1] = self.waiting[-1] + value
            return
        if len(self.waiting) >= MOST_WAITING:
            self.read()
        self.waiting.append(value)
        self.iteration = iteration

    def read(self) -> None:
        """Take the numbers from the device, all at once."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for value in torch.stack(waiting).tolist():
                super().update(value)

    @property
    def data(self) -> Tuple[Any, Any]:
        """All values, and how often each counts."""
        self.read()
        return super().data

    def update(self, log_val: float, count: int = 1) -> None:
        """Log a number."""
        self.read()
        super().update(log_val, count)

    def statistics(self, method_name: str, *arg: Any, **kwargs: Any) -> Any:
        """A statistic by its name."""
        self.read()
        return super().statistics(method_name, *arg, **kwargs)

    def mean(self, window_size: int | None = None) -> Any:
        """The mean of the last values."""
        self.read()
        return super().mean(window_size)

    def max(self, window_size: int | None = None) -> Any:
        """The greatest of the last values."""
        self.read()
        return super().max(window_size)

    def min(self, window_size: int | None = None) -> Any:
        """The least of the last values."""
        self.read()
        return super().min(window_size)

    def current(self) -> Any:
        """The last value."""
        self.read()
        return super().current()

    def __reduce_ex__(self, protocol: Any) -> Tuple[Any, Any]:
        """Become a plain buffer."""
        values, counts = self.data
        return HistoryBuffer, (values.copy(), counts.copy())


def log_values(owner: nn.Module, name: str, values: Dict[str, Tensor]) -> None:
    """Log tensors of one number beside the losses, as ``train/name.key``.

    Args:
        owner (nn.Module): Whose they are. A second owner of one name has a
            number appended to it: ``train/name_2.key``.
        name (str): What their names begin with.
        values (dict[str, Tensor]): The values, by name.
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
        if not isinstance(history, DeviceHistory):
            if history is None:
                hub.update_scalar(key, 0.0)  # which also says: save it
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
    if known is None:
        owners[prefix] = weakref.ref(owner)
    return prefix
