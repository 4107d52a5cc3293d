"""Replace the stock losses of a config by ours, and keep their numbers."""
from __future__ import annotations
import inspect
from copy import deepcopy
from fnmatch import fnmatch
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from mmengine.config import Config

from .configs import class_of, find_class, loss_configs
from .findings import class_name

#: Stock losses with another name here.
NAMES = {'mmdet.EIoULoss': 'ExtendedIoULoss'}

#: Settings beyond the arguments of stock that keep its number.
SETTINGS: Dict[str, Dict[str, Any]] = {
    'mmpose.KLDiscretLoss': dict(size_average=False)
}

#: Arguments that stock stores and never reads.
UNUSED = {
    'mmdet3d.MultiBinLoss': ('reduction', ),
    'mmpose.FocalHeatmapLoss': ('use_target_weight', ),
    'mmpose.KeypointMSELoss': ('use_target_weight', )
}

#: Why a number differs, although each argument is the same.
REASONS: Dict[str, str] = {
    'mmdet3d.MultiBinLoss': 'stock trains the first bin only',
    'mmseg.DiceLoss': 'stock counts pixels to ignore',
    'mmseg.HuasdorffDisstanceLoss': 'stock takes all classes for one',
    'mmseg.KLDivLoss': 'stock takes probabilities for logarithms',
    'mmseg.OhemCrossEntropy': 'stock keeps fewer pixels of equal probability',
    'mmrotate.BCConvexGIoULoss': 'stock adds the mean of the batch to each',
    'mmrotate.ConvexGIoULoss': 'stock ignores avg_factor',
    'mmrotate.GDLoss_v1': 'stock adds the means of levels',
    'mmrotate.H2RBoxConsistencyLoss': 'stock swaps all sides of a batch',
    'mmrotate.SpatialBorderLoss': 'stock divides by the boxes twice',
}

#: Heads that compare the type of a loss with a string.
BY_NAME = {
    'mmdet.FocalLoss': 'Anchor3DHead',
    'mmdet.GHMC': 'Anchor3DHead',
}


class Swap(NamedTuple):
    """One loss of a config and what takes its place."""
    path: str
    stock: str  # with its project
    ours: str = ''  # empty: it stays as it is
    settings: Dict[str, Any] = {}  # what keeps the number of stock
    reason: str = ''  # why it stays, or why the number differs

    @property
    def number(self) -> str:
        """What becomes of the number of stock, in a few words."""
        if self.reason:
            return self.reason
        given = ', '.join(
            [f'{key}={value!r}' for key, value in self.settings.items()])
        return f'the same, with {given}' if given else 'the same'


def find_swaps(cfg: Config, only: str = '*') -> List[Swap]:
    """Find the losses of a config and those that take their place.

    Args:
        cfg (Config): The whole config.
        only (str): Pattern, as of file names, for the path or the class of
            the losses to replace. Default: ``'*'``.
    """
    found = []
    for path, loss in loss_configs(cfg.model, 'model'):
        cls = class_of(loss)
        name = loss['type'] if cls is None else class_name(cls)
        if not (fnmatch(path, only) or fnmatch(name, only)):
            found.append(Swap(path, name, reason=f'not in {only}'))
        elif cls is not None:
            found.append(find_swap(path, name, cls, loss, cfg))
        else:
            # As where a config of mmrotate forgets the scope of mmdet.
            ours = f'mmlosses.{name}'
            known = '.' not in name and find_class(ours) is not None
            reason = 'not registered, so stock does not build'
            found.append(
                Swap(path, name, ours if known else '', reason=reason))
    return found


def find_swap(path: str, name: str, cls: Any, loss: Dict[str, Any],
              cfg: Config) -> Swap:
    """Find what takes the place of one loss."""
    project, _, bare = name.partition('.')
    if project == 'mmlosses':
        return Swap(path, name, reason='ours already')
    ours = f'mmlosses.{NAMES.get(name, bare)}'
    own = find_class(ours)
    if own is None:
        return Swap(path, name, reason='no such loss in mmlosses')
    head = BY_NAME.get(name)
    if head and head in str(parent_type(path, cfg)):
        return Swap(
            path,
            name,
            reason=f'{head} samples unless it reads {name!r} in its config')
    settings = {
        key: value
        for key, value in other_defaults(name, cls, own) if key not in loss
    }
    return Swap(path, name, ours, settings, REASONS.get(name, ''))


def parent_type(path: str, cfg: Config) -> Any:
    """The type of the head that holds a loss."""
    node = node_at(cfg, path.rpartition('.')[0])
    return node.get('type') if isinstance(node, dict) else None


def node_at(cfg: Config, path: str) -> Any:
    """The part of a config at a path."""
    node: Any = cfg
    for key in path.split('.'):
        node = node[int(key) if isinstance(node, (list, tuple)) else key]
    return node


def other_defaults(name: str, stock: Any,
                   ours: Any) -> Iterator[Tuple[str, Any]]:
    """Settings that give ours the defaults of stock.

    A stock default of None means that nothing is set.
    """
    own = inspect.signature(ours).parameters
    for key, parameter in inspect.signature(stock).parameters.items():
        value = parameter.default
        if isinstance(value, list):  # ours is not mutable
            value = tuple(value)
        if (key in own and value is not parameter.empty and value is not None
                and value != own[key].default
                and key not in UNUSED.get(name, ())):
            yield key, value
    yield from SETTINGS.get(name, {}).items()


def swapped(cfg: Config, swaps: Sequence[Swap]) -> Config:
    """The config with our losses."""
    cfg = deepcopy(cfg)
    for swap in swaps:
        if swap.ours:
            loss = node_at(cfg, swap.path)
            loss.pop('_scope_', None)
            loss.update(type=swap.ours, **swap.settings)
    return cfg


def overrides(cfg: Config, swaps: Sequence[Swap]) -> Dict[str, Any]:
    """What a config that inherits from this one must set.

    A list is replaced as a whole: mmengine does not merge lists.
    """
    paths = {swap.path: swap for swap in swaps if swap.ours}

    def visit(node: Any, path: str) -> Any:
        if not any([f'{each}.'.startswith(f'{path}.') for each in paths]):
            return None
        if isinstance(node, (list, tuple)):
            return node
        found: Dict[str, Any] = {}
        if path in paths:
            found.update(type=paths[path].ours, **paths[path].settings)
        for key, value in node.items():
            child = visit(value, f'{path}.{key}')
            if child is not None:
                found[key] = child
        return found

    model = swapped(cfg, swaps).to_dict()['model']
    return visit(model, 'model') or {}
