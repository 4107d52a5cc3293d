"""Several losses in the slot of one."""
from __future__ import annotations
import inspect
from typing import Any, Dict, Iterable, List, Mapping, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmlosses.core.base import (WEIGHT_NAMES, BaseLoss, CommonArguments,
                                call_signature)
from mmlosses.core.checks import check_choice, check_number
from mmlosses.core.device_history import log_values
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.tensors import (autocast_off, is_transformed, map_tensors,
                                   upcast)
from mmlosses.core.terms import add_terms
from mmlosses.registry import MODELS

#: Attributes that heads read, beside those that every loss has.
READ_BY_HEADS = ('use_sigmoid', 'class_weight', 'bg_cls_weight', 'activated',
                 'ignore_index', 'num_classes', 'beta', 'custom_cls_channels',
                 'custom_activation', 'custom_accuracy', 'get_cls_channels',
                 'get_activation', 'get_accuracy')

# Arguments that a SumLoss can pass to all of its losses.
SHARED = ('use_sigmoid', 'class_weight', 'ignore_index', 'use_target_weight')

# All names of the weight in a call.
WEIGHTS = ('weight', 'target_weight', *WEIGHT_NAMES)


def accepted_by(loss: nn.Module) -> set[str] | None:
    """Return the argument names of a call, None if any are accepted."""
    parameters = call_signature(loss).parameters
    any_name = any([p.kind is p.VAR_KEYWORD for p in parameters.values()])
    return None if any_name else set(parameters)


def spelling_of(accepted: set[str] | None) -> Dict[str, str]:
    """Return what a loss calls the weight, for each name it does not take."""
    own = [name for name in WEIGHTS if accepted and name in accepted][:1]
    return {
        name: own[0]
        for name in WEIGHTS if accepted and own and name not in accepted
    }


class CompositeLoss(BaseLoss):
    """Losses in one module: ``compile`` is that of each."""

    def inner(self) -> Iterable[nn.Module]:
        """Return the losses; there are none at first."""
        raise NotImplementedError

    def built(self, configs: Iterable[Any], **shared: Any) -> nn.ModuleList:
        """Build the losses, with the shared arguments that they take."""
        losses = build_losses(
            type(self).__name__,
            configs,
            self.reduction,
            use_target_weight=self.use_target_weight,
            **shared)
        if self._compile:
            for loss in losses:
                if isinstance(loss, BaseLoss):
                    loss.is_compiled = True
        return losses

    @property
    def is_compiled(self) -> bool:
        """True if the formula of one of the losses is compiled."""
        return any([getattr(x, 'is_compiled', False) for x in self.inner()])

    @is_compiled.setter
    def is_compiled(self, value: bool) -> None:
        self._compile = value  # of losses that are built later
        for loss in self.inner():
            if isinstance(loss, BaseLoss):
                loss.is_compiled = value


@MODELS.register_module()
class SumLoss(CompositeLoss):
    r"""The sum of several losses, for a slot that takes one.

    .. math::
        L = \sum_i L_i \qquad \text{or} \qquad
        L = \sum_i e^{-s_i} L_i + \tfrac{1}{2} s_i

    with the losses :math:`L_i`, each with its own ``loss_weight``. Each gets
    every argument of a call. Attributes that heads read, such as
    ``use_sigmoid``, are those of the losses.

    The second form learns the weights: :math:`s_i` is the log variance of task
    i. It needs non-negative losses; at the minimum, :math:`s_i = \log 2 L_i`,
    each loss has the weight :math:`1 / (2 L_i)`. An :math:`L_i` of exactly 0,
    such as that of a batch without objects, carries no information about
    :math:`s_i`, and its term is left out. Heads such as ``FCOSHead`` and
    ``BBoxHead`` skip the loss of boxes where there is none: distributed
    training then needs ``find_unused_parameters=True`` in the config, as for
    any loss with parameters in such a slot.

    During training, the terms are logged under their class names, as
    ``sum_loss.GIoULoss``; those of several calls in one iteration, as by heads
    of several levels, are added. Logging does not synchronise with the host:
    values are read when they are printed.

    Args:
        losses (list[dict]): Configs of one loss or more, each with a class or
            a scoped name, such as ``'mmlosses.L1Loss'``, as its type.
        weighting (str, optional): ``'uncertainty'`` learns the weights.
            Default: None.
        initial_log_var (float | list[float], optional): Initial :math:`s_i` of
            ``'uncertainty'``, one for each loss or for all. ``None`` is 0, the
            plain sum. Default: None.
        log_name (str): Prefix of the terms in the log; ``sum_loss_2`` where a
            model has a second loss with the prefix. Default: ``'sum_loss'``.
        use_sigmoid (bool, optional): Default for every loss that takes it, in
            the place where some heads read it. Default: None.
        class_weight (list[float] | Tensor, optional): As ``use_sigmoid``.
        ignore_index (int, optional): As ``use_sigmoid``.

    Attributes:
        parts (dict[str, Tensor]): The detached terms of the last call by class
            name, whose sum is the loss.
        log_vars (nn.Parameter): With ``'uncertainty'``, the :math:`s_i`.

    Shape:
        - pred, target, weight: as the losses take them.
        - returns: 0-dim, or for ``'none'`` the shape that the losses share.

    Differs from upstream:
        - mmdet has no sum of losses. mmpose's ``CombinedLoss`` is a dict that
          heads call one by one; ``MultipleLossWrapper`` returns a list.
    """
    info = LossInfo(
        purpose='several losses in a slot that takes one',
        slots='any slot of mmdet or mmpose whose loss returns one tensor',
        expects='any',
        paper=Paper(
            'Alex Kendall, Yarin Gal, Roberto Cipolla',
            'Multi-Task Learning Using Uncertainty to Weigh Losses for Scene '
            'Geometry and Semantics', 'CVPR', 2018, '1705.07115'),
        source=r'The learned weights, equation 10, with :math:`s = \log '
        r'\sigma^2`, without the factor 1/2 of equation 7, which only shifts '
        r':math:`s_i` by :math:`\log 2`: training starts with the plain sum.')

    def __init__(self,
                 losses: Sequence[Any],
                 weighting: str | None = None,
                 initial_log_var: float | Sequence[float] | None = None,
                 log_name: str = 'sum_loss',
                 use_sigmoid: bool | None = None,
                 class_weight: Sequence[float] | Tensor | None = None,
                 ignore_index: int | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        if not isinstance(losses, (list, tuple)) or not losses:
            raise ValueError('losses must be a list with at least one config '
                             f'of a loss, got {losses!r}')
        check_choice('weighting', weighting, (None, 'uncertainty'))
        if weighting is None and initial_log_var is not None:
            raise ValueError('initial_log_var has no effect without '
                             "weighting='uncertainty'")
        if not isinstance(log_name, str) or not log_name:
            raise ValueError(f'log_name must be a name, got {log_name!r}')
        for config in losses:
            check_scope(config)
        self.losses = self.built(
            losses,
            use_sigmoid=use_sigmoid,
            class_weight=class_weight,
            ignore_index=ignore_index)
        self.names = unique_names(self.losses)
        self.weighting, self.initial_log_var = weighting, initial_log_var
        self.log_name = log_name
        self.parts: Dict[str, Tensor] = {}
        if weighting is not None:
            self.log_vars = nn.Parameter(
                initial_log_vars(initial_log_var, len(losses)))
        if self.use_target_weight is None:
            # Heads pass weights only if this is True.
            given = self.values_of('use_target_weight').values()
            self.use_target_weight = (True if True in given else
                                      False if False in given else None)
        self.accepted = [accepted_by(loss) for loss in self.losses]
        self.spelling = [spelling_of(names) for names in self.accepted]
        self._check_agreement(use_sigmoid)

    def _check_agreement(self, use_sigmoid: bool | None) -> None:
        """Raise where no head could serve all of the losses."""
        sigmoids = self.values_of('use_sigmoid')
        if use_sigmoid is not None:
            sigmoids['SumLoss'] = use_sigmoid
        self._check_same('use_sigmoid', sigmoids)
        # Those without the attribute count as False.
        channels = dict.fromkeys(self.names, False)
        channels.update(self.values_of('custom_cls_channels'))
        self._check_same('custom_cls_channels', channels)
        for name, loss in zip(self.names, self.losses):
            # mmpose's losses average, but have no such attribute.
            has = getattr(loss, 'reduction', 'mean')
            if has != self.reduction:
                raise ValueError(
                    f'SumLoss has reduction={self.reduction!r} and its {name} '
                    f'{has!r}: write it in the config of SumLoss')

    def _check_same(self, attribute: str, values: Dict[str, Any]) -> None:
        if len(set(values.values())) > 1:
            raise ValueError('the losses of a SumLoss must have the same '
                             f'{attribute}, got {listed(values)}')

    def values_of(self, attribute: str) -> Dict[str, Any]:
        """Return the values of an attribute, for losses that have it."""
        return {
            name: getattr(loss, attribute)
            for name, loss in zip(self.names, self.losses)
            if hasattr(loss, attribute)
        }

    def __getattr__(self, name: str) -> Any:
        """Return an attribute that heads read, where the losses agree."""
        if name not in READ_BY_HEADS:
            return super().__getattr__(name)
        values = self.values_of(name)
        if not values:
            return None if name in SHARED else super().__getattr__(name)
        first, *others = values.values()
        if not all([is_same(first, other) for other in others]):
            raise AttributeError(
                f'the losses of a SumLoss do not agree on {name}, which is '
                f'read here: {listed(values)}')
        return first

    def inner(self) -> Iterable[nn.Module]:
        return getattr(self, 'losses', ())

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the loss; a loss need not accept keywords that are None."""
        # Once, so that the gradients of half precision add up in float32.
        args = upcast_all(args)
        kwargs = {name: upcast_all(value) for name, value in kwargs.items()}
        with autocast_off(device_of(args)):
            terms = [
                self._call(index, args, kwargs)
                for index in range(len(self.losses))
            ]
        shapes = {
            name: tuple(term.shape)
            for name, term in zip(self.names, terms) if term.ndim
        }
        if len(set(shapes.values())) > 1:
            raise ValueError(
                'the losses of a SumLoss must return one shape, got ' +
                ', '.join([f'{x} of {name}' for name, x in shapes.items()]))
        if self.weighting is not None:
            terms = [
                weigh_by_uncertainty(term, log_var)
                for term, log_var in zip(terms, self.log_vars)
            ]
        self.parts = {
            name: self.loss_weight * term.detach()
            for name, term in zip(self.names, terms)
        }
        if (self.training and torch.is_grad_enabled() and not is_transformed()
                and not shapes):
            log_values(self, self.log_name, self.parts)
        return self.loss_weight * add_terms(terms[0], terms[1:])

    def _call(self, index: int, args: Any, kwargs: Dict[str, Any]) -> Tensor:
        """Call one loss with the arguments that it takes."""
        name, accepted = self.names[index], self.accepted[index]
        if accepted is not None:
            kwargs = {
                self.spelling[index].get(key, key): value
                for key, value in kwargs.items()
                if key in accepted or value is not None
            }
            for key in kwargs:
                if key not in accepted:
                    raise TypeError(f'{name}, in a SumLoss, takes no {key}, '
                                    'with which the head calls it')
        term = self.losses[index](*args, **kwargs)
        if not isinstance(term, Tensor):
            raise TypeError(f'a SumLoss adds tensors, but its {name} returned '
                            f'a {type(term).__name__}')
        # Not by `get`, which torch 2.0 cannot compile.
        factor = kwargs['avg_factor'] if 'avg_factor' in kwargs else None
        if isinstance(factor, Tensor) and factor.shape == term.shape == (1, ):
            # mmdet divides by it and keeps its shape.
            return term.reshape(())
        return term


def listed(values: Dict[str, Any]) -> str:
    """Return values with the losses that have them, for an error message."""
    return ', '.join([f'{x!r} in {name}' for name, x in values.items()])


def upcast_all(value: Any) -> Any:
    """Return half precision as float32, also within tuples and lists."""
    if isinstance(value, Tensor):
        return upcast(value)
    if type(value) in (tuple, list):
        return type(value)([upcast_all(each) for each in value])
    return value


def device_of(value: Any) -> str:
    """Return the device type of the first tensor of a call."""
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value.device.type if isinstance(value, Tensor) else 'cpu'


def build_losses(owner: str, configs: Iterable[Any], reduction: str,
                 **shared: Any) -> nn.ModuleList:
    """Build losses, each with the shared arguments that it takes."""
    shared = {name: x for name, x in shared.items() if x is not None}
    losses, taken = nn.ModuleList(), set()
    for config in configs:
        if isinstance(config, nn.Module):
            losses.append(config)
            taken |= {name for name in shared if hasattr(config, name)}
            continue
        kind = config['type']
        cls = MODELS.get(kind) if isinstance(kind, str) else kind
        # Without a class, building raises the error.
        takes = inspect.signature(cls).parameters if cls else ()
        fitting = {
            name: value
            for name, value in dict(shared, reduction=reduction).items()
            if name in takes
        }
        taken |= set(fitting)
        losses.append(MODELS.build({**fitting, **config}))
    for name in shared:
        if name not in taken:
            raise ValueError(
                f'none of the losses of this {owner} takes {name}: ' +
                ', '.join([type(loss).__name__ for loss in losses]))
    return losses


def check_config(config: Any) -> None:
    """Raise unless it is a config or a loss."""
    if isinstance(config, nn.Module):
        return
    if not isinstance(config, dict) or 'type' not in config:
        raise TypeError('losses must hold configs of losses, such as '
                        f"dict(type='mmlosses.L1Loss'), got {config!r}")


def check_scope(config: Any) -> None:
    """Raise unless the type in a config has a scope."""
    check_config(config)
    if isinstance(config, nn.Module):
        return
    kind = config['type']
    if isinstance(kind, str) and '.' not in kind and '_scope_' not in config:
        raise ValueError(
            f'the type of a loss in a SumLoss needs its scope, got {kind!r}, '
            'which could be the loss of any project: write '
            f"'mmlosses.{kind}', 'mmdet.{kind}' or 'mmpose.{kind}'")


def ours_first(config: Any) -> Any:
    """A config in which a bare name of a loss of mmlosses is that loss."""
    check_config(config)
    if isinstance(config, dict) and '_scope_' not in config:
        cls = MODELS.module_dict.get(config['type'])
        if cls is not None:
            return {**config, 'type': cls}
    return config


@MODELS.register_module()
class MultipleLossWrapper(CompositeLoss):
    r"""One loss for each of several predictions, as mmpose's wrapper.

    .. math::
        [L_1(p_1, t_1, w), L_2(p_2, t_2, w), \dots]

    The head adds or logs the losses. All get the same weight.

    Args:
        losses (list[dict]): Configs of the losses, in the order of the
            predictions. Each may have a ``reduction`` and a ``loss_weight`` of
            its own. A name without a scope, such as ``'L1Loss'`` in a stock
            config, is the loss of mmlosses, or of the project if mmlosses has
            none of that name.
        reduction (str): Default of the losses that do not set it.
            Default: ``'mean'``.
        loss_weight (float): Factor of each loss. Default: 1.0.

    Shape:
        - input_list, target_list: a list with the prediction, or the target,
          of each loss.
        - keypoint_weights: as all of the losses take it, such as (N, K).
        - returns: a list with the result of each loss.

    Differs from upstream:
        - mmpose's ignores predictions beyond the number of losses. Here their
          number must be that of the losses.
    """
    info = LossInfo(
        purpose='several predictions of one head, each with its own loss',
        slots='``loss`` of DSNTHead',
        expects='any',
        source="mmpose's ``loss_wrappers.py``.")

    def __init__(self, losses: Sequence[Any],
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        if not isinstance(losses, (list, tuple)) or not losses:
            raise ValueError('losses must be a list with at least one config '
                             f'of a loss, got {losses!r}')
        self.num_losses = len(losses)
        self.loss_modules = self.built([ours_first(x) for x in losses])

    def inner(self) -> Iterable[nn.Module]:
        return getattr(self, 'loss_modules', ())

    def forward(self,
                input_list: Sequence[Any],
                target_list: Sequence[Any],
                keypoint_weights: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                reduction_override: str | None = None,
                **options: Any) -> List[Any]:
        """Compute the losses; options are further arguments of all."""
        for name, given in (('input_list', input_list), ('target_list',
                                                         target_list)):
            if not isinstance(given, (list, tuple)):
                raise TypeError(f'{name} must be a list with one entry for '
                                f'each loss, got {type(given).__name__}')
            if len(given) != self.num_losses:
                raise ValueError(f'{name} must have one entry for each of '
                                 f'{self.num_losses} losses, got {len(given)}')
        for name in WEIGHTS:
            if name in options:
                keypoint_weights = self.given_weight(keypoint_weights,
                                                     options.pop(name))
        for name, value in (('avg_factor', avg_factor), ('reduction_override',
                                                         reduction_override)):
            if value is not None:  # stock losses of mmpose have neither
                options[name] = value
        losses = []
        for loss, pred, target in zip(self.loss_modules, input_list,
                                      target_list):
            value = loss(pred, target, keypoint_weights, **options)
            losses.append(map_tensors(lambda x: self.loss_weight * x, value))
        return losses


@MODELS.register_module()
class CombinedLoss(CompositeLoss, nn.ModuleDict):
    r"""Losses by name, which a head calls one by one, as mmpose's.

    .. math::
        L_a(p_a, t_a), \quad L_b(p_b, t_b), \quad \dots

    ``loss_module.heatmap_loss(pred, target)`` calls the loss of the name
    ``heatmap_loss``, and so does ``loss_module['heatmap_loss']``. The
    container itself has no call.

    Args:
        losses (dict[str, dict]): Configs of the losses by name. A name without
            a scope as ``type``, such as ``'MSELoss'`` in a stock config, is
            the loss of mmlosses, or of the project if mmlosses has none of
            that name.
        reduction (str): Default of the losses that do not set it.
            Default: ``'mean'``.
        loss_weight (float): Factor of the ``loss_weight`` of each loss.
            Default: 1.0.

    Shape:
        - returns: as the loss that is called.
    """
    info = LossInfo(
        purpose='several losses of one head, called by their names',
        slots='``loss_module`` of AssociativeEmbeddingHead, and heads '
        'of yours',
        expects='any',
        source="mmpose's ``loss_wrappers.py``.")

    def __init__(self, losses: Mapping[str, Any],
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        if not isinstance(losses, Mapping) or not losses:
            raise ValueError('losses must be a dict with the config of at '
                             f'least one loss, got {losses!r}')
        self.own_weights: Dict[str, float | None] = {}
        built = self.built([ours_first(x) for x in losses.values()])
        for name, loss in zip(losses, built):
            if hasattr(self, name):
                raise ValueError(f'{name!r} cannot be the name of a loss: it '
                                 f'is an attribute of {type(self).__name__}')
            self.add_module(name, loss)
            self.own_weights[name] = getattr(loss, 'loss_weight', None)
        self.loss_weight = self._loss_weight

    def inner(self) -> Iterable[nn.Module]:
        return self.values()

    @property
    def loss_weight(self) -> float:
        """Factor of the ``loss_weight`` of each loss."""
        return self._loss_weight

    @loss_weight.setter
    def loss_weight(self, value: float) -> None:
        self._loss_weight = value
        losses: Iterable[Any] = self.items()
        for name, loss in losses:
            own = self.own_weights[name]
            if own is not None:
                loss.loss_weight = value * own
            elif value != 1:
                raise ValueError(f'{name} is a {type(loss).__name__}, which '
                                 'has no loss_weight to multiply by '
                                 f'{value}')

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Raise: there is no such call."""
        names = ', '.join(self)
        raise NotImplementedError(
            f'{type(self).__name__} is called by the names of its losses, '
            f'{names}: loss_module.{next(iter(self))}(pred, target)')


def unique_names(losses: Iterable[nn.Module]) -> List[str]:
    """Return the class names, numbered from the second occurrence."""
    kinds = [type(loss).__name__ for loss in losses]
    numbers = [kinds[:i + 1].count(kind) for i, kind in enumerate(kinds)]
    return [f'{x}_{n}' if n > 1 else x for x, n in zip(kinds, numbers)]


def initial_log_vars(value: float | Sequence[float] | None,
                     number: int) -> Tensor:
    """Return one value for each loss."""
    values = [0.0 if value is None else value] * number
    if isinstance(value, (list, tuple)):
        values = list(value)
    if len(values) != number:
        raise ValueError('initial_log_var must be a number, or one for each '
                         f'of {number} losses, got {value!r}')
    for each in values:
        check_number('initial_log_var', each)
    return torch.tensor(values, dtype=torch.get_default_dtype())


def weigh_by_uncertainty(loss: Tensor, log_var: Tensor) -> Tensor:
    """exp(-s) L + s / 2, and 0 where L is 0."""
    log_var = log_var.to(loss.dtype)
    return torch.exp(-log_var) * loss + log_var / 2 * (loss.detach() != 0)


def is_same(one: Any, other: Any) -> bool:
    """Return True for equal attributes, or methods of one class."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and bool((one == other).all())
    if callable(one) and callable(other):
        one = getattr(one, '__func__', one)
        return one is getattr(other, '__func__', other)
    return type(one) is type(other) and bool(one == other)
