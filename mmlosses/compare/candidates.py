"""The losses to compare, the slot they go into, and the metric."""
from __future__ import annotations
import ast
from copy import deepcopy
from fnmatch import fnmatch
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmlosses.checks.configs import find_class, loss_configs, override
from mmlosses.checks.step import Check
from mmlosses.cli import did_you_mean

STOCK = 'stock'

#: Settings of a scheduler that count the epochs or iterations of a training.
LENGTHS = ('begin', 'end', 'T_max', 'total_steps', 'milestones')


class Candidate(NamedTuple):
    """A loss under the name it was given; None is that of the config."""
    name: str
    loss: Dict[str, Any] | None


def parse_candidate(text: str) -> Candidate:
    """Read a loss as a person writes it: ``SIoULoss(theta=2)``.

    A bare name is one of mmlosses, if it has that; ``'stock'`` is the loss of
    the config.

    Raises:
        ValueError: If it is no name with keyword arguments, or unknown.
    """
    if text == STOCK:
        return Candidate(STOCK, None)
    try:
        node = ast.parse(text, mode='eval').body
        arguments: Dict[str, Any] = {}
        if isinstance(node, ast.Call):
            if node.args:
                raise ValueError('its arguments need names')
            arguments = {
                str(x.arg): ast.literal_eval(x.value)
                for x in node.keywords
            }
            node = node.func
        if not isinstance(node, (ast.Name, ast.Attribute)):
            raise ValueError('it is no name')
    except (SyntaxError, ValueError) as cause:
        raise ValueError(f'{text!r} is no loss such as GIoULoss or '
                         f"'SIoULoss(theta=2)': {cause}") from cause
    name = text.partition('(')[0].strip()
    if '.' not in name and find_class(f'mmlosses.{name}'):
        name = f'mmlosses.{name}'
    return Candidate(text, dict(type=name, **arguments))


def find_slots(cfg: Config, pattern: str) -> List[str]:
    """The paths of the losses in a model that a pattern names.

    Args:
        cfg (Config): The whole config.
        pattern (str): The end of a path, such as ``'bbox_head.loss_bbox'``.
            ``*`` stands for any text.

    Raises:
        ValueError: If there is none.
    """
    paths = [path for path, _ in loss_configs(cfg.model, 'model')]
    found = [
        path for path in paths
        if fnmatch(path, pattern) or fnmatch(path, f'*.{pattern}')
    ]
    if not found:
        known = [path.partition('.')[2] for path in paths]
        raise ValueError(f'the model has no loss at {pattern}, only at '
                         f'{", ".join(known) or "no place"}' +
                         did_you_mean(pattern, known))
    return found


def with_loss(cfg: Config, slots: Sequence[str],
              candidate: Candidate) -> Config:
    """A copy of a config with a loss in its slots.

    The ``loss_weight`` of a slot stays, unless the loss brings its own.
    """
    cfg = deepcopy(cfg)
    for path in slots:
        parent, _, last = path.rpartition('.')
        place: Any = int(last) if last.isdigit() else last
        node_at(cfg, parent)[place] = loss_at(cfg, path, candidate)
    return cfg


def node_at(cfg: Config, path: str) -> Any:
    """The part of a config at a path."""
    node: Any = cfg
    for key in path.split('.'):
        node = node[int(key) if key.isdigit() else key]
    return node


def loss_at(cfg: Config, path: str, candidate: Candidate) -> Dict[str, Any]:
    """The config of a loss in a slot."""
    stock = dict(node_at(cfg, path))
    if candidate.loss is None:
        return stock
    loss = deepcopy(candidate.loss)
    if 'loss_weight' in stock:
        loss.setdefault('loss_weight', stock['loss_weight'])
    return loss


def shorten(cfg: Config, epochs: int | None, iters: int | None) -> None:
    """Train for so many epochs or iterations, with the schedule to scale.

    Raises:
        ValueError: If the config counts the other of the two.
    """
    name, number = ('max_iters', iters) if epochs is None else ('max_epochs',
                                                                epochs)
    if number is None:
        return
    old = cfg.train_cfg.get(name)
    if old is None:
        raise ValueError(f'the config does not train by {name}: its train_cfg '
                         f'is {dict(cfg.train_cfg)}')
    options = {f'train_cfg.{name}': number}
    if cfg.train_cfg.get('val_interval', 1) > number:
        options['train_cfg.val_interval'] = number
    override(cfg, options)
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers,
                                                dict) else schedulers:
        if scheduler.get('by_epoch', True) == (name == 'max_epochs'):
            for key in LENGTHS:
                if scheduler.get(key):
                    scheduler[key] = scaled(scheduler[key], number / old)


def scaled(length: Any, factor: float) -> Any:
    """A length, or each of several, times a factor; 1 at least."""
    if isinstance(length, (list, tuple)):
        return [scaled(x, factor) for x in length]
    return max(round(length * factor), 1)


def metric_of(cfg: Config, name: str | None,
              rule: str | None) -> Tuple[str, bool]:
    """The metric to rank by, and whether more is better.

    Args:
        cfg (Config): The whole config.
        name (str, optional): Its name. Default: that of ``save_best``.
        rule (str, optional): ``'greater'`` or ``'less'``. Default: that of the
            checkpoint hook, which mmengine guesses by the name.

    Raises:
        ValueError: If the config names none, or has no validation.
    """
    if not (cfg.get('val_evaluator') and cfg.get('val_dataloader')):
        raise ValueError('the config has no validation to rank losses by: it '
                         'needs val_dataloader and val_evaluator')
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    best: Any = hook.get('save_best')
    best = best[0] if isinstance(best, (list, tuple)) and best else best
    name = name or best
    if not name or name == 'auto':
        raise ValueError('the config says no metric, as save_best of its '
                         'CheckpointHook would: choose one by --metric')
    if rule is None and name == best:
        rule = hook.get('rule')
        rule = rule[0] if isinstance(rule, (list, tuple)) else rule
    try:
        known, = CheckpointHook(save_best=name, rule=rule).rules
    except (KeyError, ValueError) as cause:
        raise ValueError(
            f'it is unknown whether more or less {name} is '
            'better: say --rule greater or --rule less') from cause
    return name, known == 'greater'


def check_candidates(cfg: Config, slots: Sequence[str],
                     candidates: Sequence[Candidate], size: int) -> List[str]:
    """Run one step of each, and return what could not be judged.

    Raises:
        ValueError: If one does not train; the text names each of them.
    """
    wrong, unjudged = [], []
    for candidate in candidates:
        check = Check(with_loss(cfg, slots, candidate), size)
        check.run()
        if check.status == 1:
            wrong.append(f'{candidate.name} {check.why}')
        elif check.status:
            unjudged.append(f'{candidate.name} {check.why}')
    if wrong:
        raise ValueError('; '.join(wrong))
    return unjudged
