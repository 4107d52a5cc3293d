"""Check the losses of a config before anything is built."""
from __future__ import annotations
import inspect
import re
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, List, Tuple

from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from mmlosses.cli import did_you_mean, module_exports, registered
from mmlosses.core.base import LossType
from mmlosses.losses import CombinedLoss, MultipleLossWrapper
from .findings import Finding, class_name, error, note, type_name, warning
from .names import CONFIGS, faults

# Keys that heads remove from a loss config before they build it.
TAKEN_BY_HEADS = {'bg_cls_weight'}  # DETRHead

# Settings of an optimizer or of clip_grad.
NUMBERS = {
    'lr', 'weight_decay', 'momentum', 'eps', 'max_norm', 'clip_value',
    'accumulative_counts'
}

# Initialisations from a checkpoint.
WEIGHTS = ('Pretrained', 'PretrainedInit')


def check_losses(cfg: Config) -> List[Finding]:
    """Find every wrong name and argument of the losses at once."""
    found = []
    if cfg.get('default_scope') == 'mmlosses':
        found.append(
            warning("default_scope='mmlosses' hides the names of every other "
                    'project: keep the scope of the project, and write '
                    'mmlosses.X where a loss is meant'))
    for path, loss in loss_configs(cfg.model, 'model'):
        found += check_loss(path, loss)
        found += whose(loss)
    return list(dict.fromkeys(found))


def override(cfg: Config, options: Dict[str, Any]) -> None:
    """Apply the settings of a command line.

    Raises:
        ValueError: If neither the config nor mmengine knows the name of an
            option, or a number of the schedule or optimizer is none.
    """
    known = {*cfg.keys(), *inspect.signature(Runner).parameters}
    for path in options:
        name = path.split('.')[0]
        if name not in known:
            raise ValueError(f'unknown setting {path}' +
                             did_you_mean(name, known))
    cfg.merge_from_dict(options)
    for path, value in options.items():
        check_number(path, value)


def check_number(path: str, value: Any) -> None:
    """Refuse a schedule or learning rate that is no number."""
    group, _, name = path.rpartition('.')
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if group == 'train_cfg' and name in ('max_epochs', 'max_iters',
                                         'val_interval', 'val_begin'):
        if not number or value != int(value):
            raise ValueError(f'{path} must be an integer, got {value!r}')
        if value < 1:
            raise ValueError(f'{path} must be at least 1, got {value}')
    elif (group.startswith('optim_wrapper') and name in NUMBERS and not number
          and value != 'inf'):
        raise ValueError(f'{path} must be a number, got {value!r}')


def whose(loss: Dict[str, Any]) -> Iterator[Finding]:
    """A name without a scope is that of the project."""
    name = loss['type']
    if not isinstance(name, str) or '.' in name:
        return
    cls = find_class(name, loss.get('_scope_'))
    project = getattr(cls, '__module__', '').partition('.')[0]
    if project in ('', 'mmlosses') or find_class(f'mmlosses.{name}') is None:
        return
    known = faults(name, project)
    yield note(f"{name!r} is {project}'s; mmlosses has its own: "
               f"'mmlosses.{name}'" +
               (f'. Known of {project}\'s: {"; ".join(known)}: see '
                f'{CONFIGS / "differs_from_upstream.md"}' if known else ''))


def loss_configs(node: Any,
                 path: str,
                 inside: bool = False,
                 ours: bool = False,
                 scope: str | None = None) -> Iterator[Tuple[str, Dict]]:
    """Path and config of every loss in a model config.

    In a wrapper of mmlosses, bare names are ``ours``. A ``_scope_`` is that of
    all that is built within.
    """
    if isinstance(node, dict):
        scope = node.get('_scope_', scope)
        # Distillers list their losses among other methods.
        if 'type' in node and (inside or type_name(node).endswith('Loss')):
            kind = node['type']
            bare = '.' not in str(kind)
            if ours and bare and find_class(f'mmlosses.{kind}'):
                node = {'_scope_': 'mmlosses', **node}
            elif scope is not None:
                node = {'_scope_': scope, **node}
            yield path, node
            ours = class_of(node) in (CombinedLoss, MultipleLossWrapper)
        for key, value in node.items():
            # Assigners have matching costs named like losses.
            if key not in ('train_cfg', 'test_cfg'):
                is_loss = 'loss' in str(key) or key == 'criterion'
                yield from loss_configs(value, f'{path}.{key}', inside
                                        or is_loss, ours, scope)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from loss_configs(value, f'{path}.{index}', inside, ours,
                                    scope)


def check_loss(path: str, loss: Dict[str, Any]) -> List[Finding]:
    """Check that a loss is registered and takes its arguments."""
    cls = class_of(loss)
    if cls is None:
        return [error(f'{path}: {unregistered(loss["type"])}')]
    given = {
        key: value
        for key, value in loss.items()
        if key not in {'type', '_scope_', *TAKEN_BY_HEADS}
    }
    if '_delete_' in given:
        return [
            error(f'{path}: _delete_ is left over, since the base config has '
                  'nothing here to delete: remove it')
        ]
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError):  # written in C
        return []
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return []
    known = set(parameters)
    if isinstance(cls, LossType):
        for other in cls.namesakes:  # type: ignore[attr-defined]
            known.update(inspect.signature(other).parameters)
        try:
            _, given = cls.own_arguments(  # type: ignore[attr-defined]
                (), given)
        except (TypeError, ValueError) as cause:
            return [error(f'{path}: {cause}')]
    unknown = sorted(given.keys() - known)
    if not unknown:
        return []
    return [
        error(f'{path}: {class_name(cls)} takes no {", ".join(unknown)}' +
              (did_you_mean(unknown[0], parameters) if len(unknown) ==
               1 else '') + '. Where it is left over from the loss of the '
              'base config, put _delete_=True into the dict and restate '
              'what should stay, such as use_sigmoid and loss_weight')
    ]


def class_of(config: Dict[str, Any]) -> Callable | None:
    """The class that a config names or holds, None if it is unknown."""
    kind = config['type']
    if isinstance(kind, str):
        return find_class(kind, config.get('_scope_'))
    return kind


def find_class(name: str, scope: str | None = None) -> Callable | None:
    """The class registered under a name, or None."""
    with MODELS.switch_scope_and_registry(scope) as registry:
        return registry.get(name)


def unregistered(name: str) -> str:
    """The message for an unregistered name, with a likely cause."""
    text = f'{name} is not a registered model'
    scope, dot, _ = name.partition('.')
    if dot and find_spec(scope) is None:
        text += f', since there is no package {scope} here'
    return text + suggestion(name)


def suggestion(name: str) -> str:
    """A question with the nearest name; a bare name prefers mmlosses."""
    bare = name.rpartition('.')[2]
    ours = f'mmlosses.{bare}'
    if find_class(ours) is not None:
        return f'; did you mean {ours}?'
    find_class('mmlosses.L1Loss')  # a lookup registers the losses of mmlosses
    names = registered('model') + module_exports(name)
    if '.' not in name:
        # Compare without the scope.
        scoped = {full.rpartition('.')[2]: full for full in names}
        question = did_you_mean(name, scoped)
        return re.sub(r'(\w+)\?$', lambda found: f'{scoped[found[1]]}?',
                      question)
    return did_you_mean(name, names)


def where(value: Any, node: Any, path: str = 'model') -> Iterator[str]:
    """The paths of a config that hold a value."""
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    for key, child in items:
        if isinstance(child, str) and child == value:
            yield f'{path}.{key}'
        yield from where(value, child, f'{path}.{key}')


def prepare_modules(model: nn.Module) -> None:
    """Keep a built model from loading checkpoints in ``init_weights``."""
    modules: Iterator[Any] = model.modules()
    for module in modules:
        if loads_weights(getattr(module, 'init_cfg', None)):
            module.init_cfg = None


def loads_weights(init: Any) -> bool:
    """True for an initialisation that reads a file, named or not."""
    return isinstance(init, dict) and (type_name(init) in WEIGHTS
                                       or 'checkpoint' in init)


def prepare_model(node: Any) -> None:
    """Make a model config quick to build and run, in place.

    Checkpoints are not loaded: a check should work offline, and random weights
    show the same problems. Batch augmentations are removed.
    """
    if isinstance(node, dict):
        if loads_weights(node.get('init_cfg')):
            node['init_cfg'] = None
        if isinstance(node.get('pretrained'), (str, bool)):
            node['pretrained'] = False if node['pretrained'] is True else None
        for key in ('teacher_ckpt', 'teacher_pretrained', 'batch_augments'):
            if node.get(key) is not None:
                node[key] = None
        for value in node.values():
            prepare_model(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            prepare_model(value)
