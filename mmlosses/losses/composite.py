"""Several losses in the slot of one."""
from __future__ import annotations
import inspect
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Set

import torch
from torch import Tensor, nn

from mmlosses.core.base import BaseLoss, CommonArguments, call_signature
from mmlosses.core.checks import check_choice
from mmlosses.core.device_history import log_values
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.tensors import autocast_off, is_transformed, upcast
from mmlosses.core.terms import add_terms
from mmlosses.registry import MODELS

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: What heads read of a loss, beside what every loss of mmlosses has.
READ_BY_HEADS = ('use_sigmoid', 'class_weight', 'bg_cls_weight', 'activated',
                 'ignore_index', 'num_classes', 'beta', 'custom_cls_channels',
                 'custom_activation', 'custom_accuracy', 'get_cls_channels',
                 'get_activation', 'get_accuracy')

# What the config of a sum may say for all of its losses.
SHARED = ('use_sigmoid', 'class_weight', 'ignore_index', 'use_target_weight')

# mmdet's and mmpose's name of the weight in a call.
SYNONYMS = {'weight': 'target_weight', 'target_weight': 'weight'}


def accepted_by(loss: nn.Module) -> Set[str] | None:
    """The names of what a call can pass, None where that is anything."""
    parameters = call_signature(loss).parameters
    if any([p.kind is p.VAR_KEYWORD for p in parameters.values()]):
        return None
    return set(parameters)


@MODELS.register_module()
class SumLoss(BaseLoss):
    r"""The sum of several losses, in a slot that has one.

    .. math::
        L = \sum_i L_i \qquad \text{or} \qquad
        L = \sum_i e^{-s_i} L_i + \tfrac{1}{2} s_i

    with the losses :math:`L_i`, each with its own ``loss_weight``. They are
    called as the head calls the sum: every argument is passed on to each of
    them. What heads read of a loss, such as ``use_sigmoid``, is that of the
    losses.

    The second form learns the weights: :math:`s_i` is the logarithm of the
    variance of task i. It needs losses that are not negative, and is at its
    minimum :math:`s_i = \log 2 L_i`, where each loss weighs
    :math:`1 / (2 L_i)`. An :math:`L_i` of exactly 0, such as that of a batch
    without objects, tells nothing about :math:`s_i` and leaves out its term.

    In a training, the terms are logged beside the losses, in the names of
    their classes: ``sum_loss.GIoULoss``. Terms of several calls in one
    iteration, as by heads of several levels, are added. No call waits for the
    device: the numbers are read when they are printed.

    Args:
        losses (list[dict]): The configs of at least one loss, each with a
            scoped name, such as ``'mmlosses.L1Loss'`` or ``'mmdet.L1Loss'``,
            or with a class for its type.
        weighting (str, optional): ``'uncertainty'`` learns the weights.
            ``None`` leaves them. Default: None.
        initial_log_var (float | list[float], optional): With
            ``'uncertainty'``, what :math:`s_i` begin with, one for each or
            the same for all. ``None`` is 0, the plain sum. Default: None.
        log_name (str): What the names of the terms in the log begin with. A
            second loss with the same name in a model is ``sum_loss_2``.
            Default: ``'sum_loss'``.
        use_sigmoid (bool, optional): That of every loss that takes it and
            says nothing itself. Some heads look for it in this place of the
            config. Default: None.
        class_weight (list[float] | Tensor, optional): The same, for the
            weight of each class. Default: None.
        ignore_index (int, optional): The same, for the label that does not
            count. Default: None.

    Attributes:
        parts (dict[str, Tensor]): The terms of the last call by the names of
            their classes, detached. The loss is their sum.
        log_vars (nn.Parameter): With ``'uncertainty'``, the :math:`s_i`.

    Shape:
        - pred, target, weight: as the losses take them.
        - returns: 0-dim, or for ``'none'`` the shape that the losses share.

    Differs from upstream:
        - mmdet has no sum of losses. mmpose's ``CombinedLoss`` is a dict of
          losses that a head calls one by one, and ``MultipleLossWrapper``
          returns a list.
    """

    info = LossInfo(
        purpose='several losses in a slot that has one',
        slots='Every slot whose loss returns one tensor, of mmdet and mmpose',
        expects='any',
        paper=Paper(
            'Alex Kendall, Yarin Gal, Roberto Cipolla',
            'Multi-Task Learning Using Uncertainty to Weigh Losses for Scene '
            'Geometry and Semantics', 'CVPR', 2018, '1705.07115'),
        source='The learned weights, equation 10, with '
        r':math:`s = \log '
        r'\sigma^2`. Its factor 1/2 of a squared error, also in '
        'equation 7, is left out, so that the option begins with the '
        r'plain sum. It only moves :math:`s_i` by :math:`\log 2`.')

    def __init__(  # type: ignore[misc]
            self,
            losses: Sequence[Any],
            weighting: str | None = None,
            initial_log_var: float | Sequence[float] | None = None,
            log_name: str = 'sum_loss',
            use_sigmoid: bool | None = None,
            class_weight: Sequence[float] | Tensor | None = None,
            ignore_index: int | None = None,
            compile: bool = False,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(compile=compile, **kwargs)
        if not isinstance(losses, (list, tuple)) or not losses:
            raise ValueError('losses must be a list with at least one config '
                             f'of a loss, got {losses!r}')
        check_choice('weighting', weighting, (None, 'uncertainty'))
        if weighting is None and initial_log_var is not None:
            raise ValueError('initial_log_var has no effect without '
                             "weighting='uncertainty'")
        if not isinstance(log_name, str) or not log_name:
            raise ValueError(f'log_name must be a name, got {log_name!r}')
        shared = dict(
            use_sigmoid=use_sigmoid,
            class_weight=class_weight,
            ignore_index=ignore_index,
            use_target_weight=self.use_target_weight)
        self.losses = nn.ModuleList(
            build_losses(losses, {
                name: value
                for name, value in shared.items() if value is not None
            }, self.reduction))
        self.names = unique_names(list(self.losses))
        self.weighting = weighting
        self.initial_log_var = initial_log_var
        self.log_name = log_name
        self.parts: Dict[str, Tensor] = {}
        if weighting is not None:
            self.log_vars = nn.Parameter(
                initial_log_vars(
                    0.0 if initial_log_var is None else initial_log_var,
                    len(self.names)))
        if compile:
            self.is_compiled = True
        if self.use_target_weight is None:
            # A head passes weights where this is True.
            given = self.values_of('use_target_weight').values()
            self.use_target_weight = (True if True in given else
                                      False if False in given else None)
        self.accepted = [accepted_by(loss) for loss in self.losses]
        self._check_agreement(use_sigmoid)

    def _check_agreement(self, use_sigmoid: bool | None) -> None:
        """Raise where no head could serve all of the losses."""
        sigmoids = self.values_of('use_sigmoid')
        if use_sigmoid is not None:
            sigmoids['SumLoss'] = use_sigmoid
        self._check_same('use_sigmoid', sigmoids)
        self._check_same(
            'custom_cls_channels', {
                name: getattr(loss, 'custom_cls_channels', False)
                for name, loss in zip(self.names, self.losses)
            })
        for name, loss in zip(self.names, self.losses):
            # Those of mmpose have a mean, and no name for it.
            has = getattr(loss, 'reduction', 'mean')
            if has != self.reduction:
                raise ValueError(
                    f'SumLoss has reduction={self.reduction!r} and its {name} '
                    f'{has!r}: write it in the config of SumLoss')

    def _check_same(self, attribute: str, values: Dict[str, Any]) -> None:
        """Raise unless all values are the same."""
        if len(set(values.values())) > 1:
            raise ValueError(
                f'the losses of a SumLoss must have the same {attribute}, got '
                + ', '.join([f'{x!r} in {name}'
                             for name, x in values.items()]))

    def values_of(self, attribute: str) -> Dict[str, Any]:
        """What the losses have under a name, for those that have it."""
        return {
            name: getattr(loss, attribute)
            for name, loss in zip(self.names, self.losses)
            if hasattr(loss, attribute)
        }

    def __getattr__(self, name: str) -> Any:
        """What heads read, where the losses agree on it."""
        if name not in READ_BY_HEADS:
            return super().__getattr__(name)
        values = self.values_of(name)
        if not values:
            if name in SHARED:
                return None
            return super().__getattr__(name)
        first, *others = values.values()
        for other in others:
            if not is_same(first, other):
                raise AttributeError(
                    f'the losses of a SumLoss do not agree on {name}, which '
                    'is read here: ' + ', '.join(
                        [f'{x!r} in {loss}' for loss, x in values.items()]))
        return first

    @property
    def is_compiled(self) -> bool:
        """Whether a formula of one of the losses is compiled."""
        return any([getattr(x, 'is_compiled', False) for x in self.losses])

    @is_compiled.setter
    def is_compiled(self, value: bool) -> None:
        for loss in getattr(self, 'losses', ()):
            if isinstance(loss, BaseLoss):
                loss.is_compiled = value

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the loss.

        Args:
            args: What the losses are called with, such as prediction, target
                and weight.
            kwargs: The same by name. What is None, a loss need not know.

        Returns:
            Tensor: A 0-dim tensor, or one element each for ``'none'``.

        Raises:
            ValueError: If the losses return different shapes.
            TypeError: If a loss takes no such argument, or returns no tensor.
        """
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
        """Call one loss with what it takes."""
        name, accepted = self.names[index], self.accepted[index]
        if accepted is not None:
            kwargs = {
                key if key in accepted else SYNONYMS.get(key, key): value
                for key, value in kwargs.items()
                if key in accepted or value is not None
            }
            unknown = [key for key in kwargs if key not in accepted]
            if unknown:
                raise TypeError(
                    f'{name}, in a SumLoss, takes no {unknown[0]}, with which '
                    'the head calls it')
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


def upcast_all(value: Any) -> Any:
    """Half precision as float32, also within tuples and lists."""
    if isinstance(value, Tensor):
        return upcast(value)
    if type(value) in (tuple, list):
        return type(value)([upcast_all(each) for each in value])
    return value


def device_of(value: Any) -> str:
    """The kind of device of the first tensor of a call."""
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value.device.type if isinstance(value, Tensor) else 'cpu'


def build_losses(configs: Sequence[Any], shared: Dict[str, Any],
                 reduction: str) -> List[nn.Module]:
    """Build losses, each with those of the shared arguments that it takes.

    Args:
        configs (Sequence[dict | nn.Module]): Configs, or what they build.
        shared (dict): Arguments, of which each must fit one of the losses.
        reduction (str): Of each loss.

    Returns:
        list[nn.Module]: The losses.
    """
    losses, taken = [], set()
    for config in configs:
        if isinstance(config, nn.Module):
            losses.append(config)
            taken |= {name for name in shared if hasattr(config, name)}
            continue
        check_scope(config)
        kind = config['type']
        cls = MODELS.get(kind) if isinstance(kind, str) else kind
        takes = set() if cls is None else set(
            inspect.signature(cls).parameters)
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
                f'none of the losses of this SumLoss takes {name}: ' +
                ', '.join([type(loss).__name__ for loss in losses]))
    return losses


def check_scope(config: Any) -> None:
    """Raise unless a config says whose loss it means."""
    if not isinstance(config, dict) or 'type' not in config:
        raise TypeError('losses must hold configs of losses, such as '
                        f"dict(type='mmlosses.L1Loss'), got {config!r}")
    kind = config['type']
    if isinstance(kind, str) and '.' not in kind and '_scope_' not in config:
        raise ValueError(
            f'the type of a loss in a SumLoss needs its scope, got {kind!r}, '
            'which could be the loss of any project: write '
            f"'mmlosses.{kind}', 'mmdet.{kind}' or 'mmpose.{kind}'")


def unique_names(losses: Sequence[nn.Module]) -> List[str]:
    """The names of their classes, with a number from the second on."""
    names: List[str] = []
    for loss in losses:
        name = kind = type(loss).__name__
        number = 1
        while name in names:
            number += 1
            name = f'{kind}_{number}'
        names.append(name)
    return names


def initial_log_vars(value: float | Sequence[float], number: int) -> Tensor:
    """One for each loss."""
    values = torch.as_tensor(value, dtype=torch.get_default_dtype())
    if values.ndim > 1 or (values.ndim and len(values) != number):
        raise ValueError('initial_log_var must be a number, or one for each '
                         f'of {number} losses, got {value!r}')
    return values.expand(number).clone()


def weigh_by_uncertainty(loss: Tensor, log_var: Tensor) -> Tensor:
    """exp(-s) L + s / 2, and nothing where L is 0."""
    log_var = log_var.to(loss.dtype)
    return torch.exp(-log_var) * loss + log_var / 2 * (loss.detach() != 0)


def is_same(one: Any, other: Any) -> bool:
    """Whether two attributes are equal, or methods of one class."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and bool((one == other).all())
    if callable(one) and callable(other):
        return getattr(one, '__func__',
                       one) is getattr(other, '__func__', other)
    return type(one) is type(other) and bool(one == other)
