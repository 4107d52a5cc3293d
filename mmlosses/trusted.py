"""Read pickles and archives of torch without executing what they hold."""
from __future__ import annotations
import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict, NamedTuple, Tuple

import torch
from torch import Tensor

# The dtypes of the storages that torch names in an archive.
STORAGES = dict(
    BoolStorage=torch.bool,
    ByteStorage=torch.uint8,
    CharStorage=torch.int8,
    ShortStorage=torch.int16,
    IntStorage=torch.int32,
    LongStorage=torch.int64,
    HalfStorage=torch.float16,
    BFloat16Storage=torch.bfloat16,
    FloatStorage=torch.float32,
    DoubleStorage=torch.float64,
    ComplexFloatStorage=torch.complex64,
    ComplexDoubleStorage=torch.complex128)


class TrustedUnpickler(pickle.Unpickler):
    """An unpickler that calls only what is trusted."""

    def trusted(self, path: str) -> Any:
        """What a dotted name stands for.

        Raises:
            KeyError: If it is not trusted.
        """
        raise NotImplementedError

    def find_class(self, module: str, name: str) -> Any:
        """Look up a name in the pickle."""
        path = f'{module}.{name}'
        try:
            return self.trusted(path)
        except KeyError:
            raise pickle.UnpicklingError(f'it holds {path}') from None


class SavedTensor(NamedTuple):
    """The arguments of torch's function that builds a tensor."""
    storage: Tuple[str, torch.dtype, str, str, int]
    offset: int
    size: Tuple[int, ...]
    stride: Tuple[int, ...]
    requires_grad: bool
    hooks: Any


class ArchiveUnpickler(TrustedUnpickler):
    """Reads tensors, as :class:`SavedTensor`, and plain values."""

    def trusted(self, path: str) -> Any:
        names: Dict[str, Any] = {
            'collections.OrderedDict': OrderedDict,
            'torch._utils._rebuild_tensor_v2': SavedTensor
        }
        for name, dtype in STORAGES.items():
            names[f'torch.{name}'] = dtype
        return names[path]

    def persistent_load(self, pid: Any) -> Any:
        """Keep the description of a storage."""
        return pid


class Archive:
    """A file of ``torch.save`` with tensors and plain values only.

    What is read takes no more memory than the file has bytes: no tensor is
    larger than its storage, nothing is compressed. ``torch.load`` does not
    promise this, nor, before torch 2.6, that ``weights_only=True`` executes
    nothing (CVE-2025-32434).

    Args:
        path (Path): The file.

    Raises:
        Exception: Of any kind, if the file is another.
    """

    def __init__(self, path: Path) -> None:
        self.left = path.stat().st_size
        self.storages: Dict[str, Tensor] = {}
        with zipfile.ZipFile(path) as self.archive:
            entries = self.archive.infolist()
            self.root = entries[0].filename.partition('/')[0]
            if sum(entry.file_size for entry in entries) > self.left:
                self.refuse()
            content = self.archive.read(f'{self.root}/data.pkl')
            for opcode, argument, _ in pickletools.genops(content):
                # The unpickler allocates a table of this length.
                if 'PUT' in opcode.name and (argument or 0) > len(content):
                    self.refuse()
            self.value = self.build(
                ArchiveUnpickler(io.BytesIO(content)).load())

    def refuse(self) -> None:
        raise ValueError('it asks for more memory than it has bytes')

    def build(self, value: Any) -> Any:
        """Build the tensors in a value."""
        size = 1
        if isinstance(value, SavedTensor):
            storage = self.storage_of(value)
            size = math.prod(value.size) * storage.element_size()
        self.left -= size
        if self.left < 0:
            self.refuse()
        if isinstance(value, SavedTensor):
            return storage.as_strided(value.size, value.stride, value.offset)
        if isinstance(value, dict):
            return {key: self.build(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.build(part) for part in value)
        return value

    def storage_of(self, value: SavedTensor) -> Tensor:
        """The whole storage of a tensor."""
        _, dtype, key, _, _ = value.storage
        if key not in self.storages:
            content = bytearray(self.archive.read(f'{self.root}/data/{key}'))
            # An empty buffer is refused.
            self.storages[key] = (
                torch.frombuffer(content, dtype=dtype)
                if content else torch.empty(0, dtype=dtype))
        return self.storages[key]
