"""The path of every call: prepare, mask, formula, weight, reduce."""
from __future__ import annotations
import inspect
import math
import re
from typing import (Any, Callable, ClassVar, Dict, List, Sequence, Tuple, Type,
                    TypedDict)

import torch
from torch import Tensor, nn

from .checks import (REDUCTIONS, check_choice, check_floating,
                     check_not_negative, check_number, check_range,
                     check_same_shape, is_nothing, is_outside, is_visible)
from .compiled import call_compiled
from .info import LossInfo
from .kernels.masking import without_gradient, zeroed
from .reduction import align_weight, reduce_loss
from .stock import DropIn
from .tensors import (Tensors, autocast_off, first_tensor, is_transformed,
                      map_tensors, pad_right, upcast)

# *args and **kwargs.
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# What stock losses call the weight, beside ``target_weight``.
WEIGHT_NAMES = ('target_weights', 'label_weight', 'label_weights',
                'keypoint_weights')

# What they call the prediction and the target, by keyword.
INPUT_NAMES = {
    'cls_score': 'pred',
    'output': 'pred',
    'outputs': 'pred',
    'pred_simcc': 'pred',
    'label': 'target',
    'labels': 'target',
    'targets': 'target',
    'gt_simcc': 'target'
}

# Why an argument of a config is unknown.
REPLACED = ('where it is left over from the loss of the base config, put '
            '_delete_=True into the dict and restate what should stay')
LEFT_OVER = {
    'bg_cls_weight':
    'only DETRHead itself, none of its subclasses, puts it into the '
    'class_weight of the loss: remove it'
}


class CommonArguments(TypedDict, total=False):
    """The arguments of every loss, passed on by ``**kwargs``."""
    reduction: str
    loss_weight: float
    use_target_weight: bool | None
    compile: bool
    loss_name: str | None


class Inputs:
    """One call, upcast and checked; ``shape`` is that of the loss."""

    def __init__(self, pred: Any, target: Any, shape: Sequence[int],
                 weight: Tensor | None,
                 avg_factor: float | Tensor | None) -> None:
        self.pred, self.target = pred, target
        # The weight broadcasts to the shape.
        self.shape, self.weight, self.avg_factor = shape, weight, avg_factor
        self._removed: Tensor | None = None
        self._knows_removed = weight is None
        # If True, the inputs of removed elements are 0.
        self.masked = False
        # Divides a mean without `avg_factor`. The mean of no elements is 0.
        self.denominator: float | Tensor = max(math.prod(shape), 1)
        # What is made of the elements: 'mean', 'sum' or 'none'.
        self.reduction = 'none'
        # The call has an `ignore_index`, as those of mmseg's heads.
        self.ignores = False
        # Further arguments of the formula, also zeroed for removed elements.
        self.extras: Tuple[Tensor, ...] = ()

    @property
    def removed(self) -> Tensor | None:
        """The elements of weight 0 or with an ignored label, or None.

        They have no value and no gradient. The mask is made when needed.
        """
        if not self._knows_removed:
            assert self.weight is not None
            # Not by the setter, which torch 2.8 does not compile in here.
            self._removed, self._knows_removed = self.weight == 0, True
        return self._removed

    @removed.setter
    def removed(self, elements: Tensor | None) -> None:
        self._removed, self._knows_removed = elements, True

    def remove(self, elements: Tensor) -> None:
        """Remove elements: their weight becomes 0, if there is a weight."""
        before = self.removed
        if self.weight is not None:
            zero = self.weight.new_zeros(())
            self.weight = torch.where(elements, zero, self.weight)
        self.removed = elements if before is None else elements | before


class LossType(type):
    """Builds a loss from its arguments, or from those of published code."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        for other in cls.namesakes:  # type: ignore[attr-defined]
            known = inspect.signature(cls).parameters.keys()
            theirs = inspect.signature(other).parameters.keys() - known
            if theirs & kwargs.keys():
                return other(*args, **kwargs)
        args, kwargs = cls.own_arguments(  # type: ignore[attr-defined]
            args, kwargs)
        named = inspect.signature(cls).parameters.values()
        for value, parameter in zip(args, named):
            # A string is true, and stock losses have their reduction there.
            if isinstance(parameter.default, bool) and isinstance(value, str):
                raise TypeError(f'{parameter.name} of {cls.__name__} must be '
                                f'True or False, got {value!r}: pass it, and '
                                'what follows, by name')
        try:
            return super().__call__(*args, **kwargs)
        except TypeError as error:
            words = "got an unexpected keyword argument '"
            name = str(error).partition(words)[2].partition("'")[0]
            if name not in kwargs or error.__cause__ is not None:
                raise
            hint = LEFT_OVER.get(name, REPLACED)
            raise TypeError(
                f"{cls.__name__} {words}{name}': {hint}") from error


class BaseLoss(DropIn, nn.Module, metaclass=LossType):
    r"""The base of all losses: check, mask, formula, weight, reduce, scale.

    A subclass defines :meth:`elementwise`, the unreduced formula, and, where
    an element is more than one number of ``pred``, :meth:`element_shape`. This
    class guarantees that

    - half precision is computed and returned in float32, also under autocast;
    - ``weight`` multiplies the loss, never its inputs, and weight 0 removes
      the element: value and gradient are 0, even where the inputs are NaN;
    - with no valid elements, the mean is 0 and stays attached to the graph;
    - no call synchronises with the host, and no input is modified.

    Args:
        reduction (str): ``'mean'`` over all elements, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.
        use_target_weight (bool, optional): ``None`` applies a weight if given,
            ``False`` ignores it, ``True`` requires it. Default: ``None``.
        compile (bool): If True, the formula, and only it, is compiled by
            :func:`torch.compile`: once for all shapes, at the first call,
            which takes seconds to a minute. Values are equal up to rounding;
            there are no second derivatives. Without a compiler, and before
            torch 2.1, it warns and runs eagerly. Default: False.
        loss_name (str, optional): Key under which mmseg's heads log and add
            the loss; only those that start with ``loss_`` are trained on.
            ``None`` is ``loss_`` and the name of the class, such as
            ``'loss_focal_loss'``. Default: None.

    Shape:
        - pred, target: (\*), the same.
        - weight: as pred, or without trailing axes, such as (N,) or (N, K);
          any axis may be 1.
        - returns: 0-dim, or the shape of pred for ``'none'``.

    Raises:
        ValueError, TypeError: Here and in a call, of every loss: if a value
            or shape does not fit, or a type is wrong.
    """

    #: Paper, slots and more, see :class:`LossInfo`.
    info: ClassVar[LossInfo]

    #: The name of the prediction in error messages.
    pred_name = 'pred'

    #: Names of constructor arguments in published code, and ours.
    synonyms: ClassVar[Dict[str, str]] = {}

    #: Further arguments there that :meth:`own_arguments` reads, and what they
    #: do here.
    published: ClassVar[Dict[str, str]] = {}

    #: Losses that another project has under the same name. An argument that
    #: only one of them takes selects it, so the loss may be of its class.
    namesakes: ClassVar[Sequence[Type[BaseLoss]]] = ()

    #: If True, removed elements are masked after the formula, without a copy,
    #: and on the CPU only if the loss is not finite. Only valid where an
    #: element depends on its own inputs and on no parameter, and has a finite
    #: gradient where it is finite; only faster for a cheap formula.
    masks_after_formula = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show the arguments behind ``**kwargs`` to whoever inspects them."""
        super().__init_subclass__(**kwargs)
        cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            list(passed_on(cls, '__init__').values()))
        own = inspect.signature(cls.forward).parameters
        cls._renamed = {
            name: ours
            for name, ours in INPUT_NAMES.items()
            if ours in own and name not in own
        }

    #: Keywords of a call in stock losses, and ours.
    _renamed: ClassVar[Dict[str, str]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the loss, also with stock names of its two inputs."""
        if kwargs:
            names = self._renamed
            kwargs = {
                names[name] if name in names else name: value
                for name, value in kwargs.items()
            }
        return super().__call__(*args, **kwargs)

    @classmethod
    def own_arguments(
            cls, args: Tuple[Any, ...],
            kwargs: Dict[str, Any]) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """Translate constructor arguments of published code into ours."""
        for other in cls.synonyms.keys() & kwargs.keys():
            name = cls.synonyms[other]
            if name in kwargs:
                raise TypeError(f'{name} and {other} are two names of one '
                                f'argument of {cls.__name__}, got both')
            kwargs[name] = kwargs.pop(other)
        return args, kwargs

    def __init__(self,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 use_target_weight: bool | None = None,
                 compile: bool = False,
                 loss_name: str | None = None) -> None:
        super().__init__()
        check_choice('reduction', reduction, REDUCTIONS)
        check_number('loss_weight', loss_weight)
        if not isinstance(compile, bool):
            raise TypeError('compile must be True or False, got '
                            f'{type(compile).__name__}')
        if loss_name is None:
            loss_name = 'loss_' + snake_case(type(self).__name__)
        elif not isinstance(loss_name, str):
            raise TypeError('loss_name must be a string or None, got '
                            f'{type(loss_name).__name__}')
        self.loss_name = loss_name
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.use_target_weight = use_target_weight
        self.is_compiled = compile

    def elementwise(self, pred: Any, target: Any, *extras: Any) -> Tensor:
        """The formula: the loss of each element, of :meth:`element_shape`.

        It must be finite where the inputs are 0, as removed elements are; its
        gradient need not be.
        """
        raise NotImplementedError

    def element_shape(self, pred: Any, target: Any) -> Sequence[int]:
        """Check the shapes and return that of the per-element loss."""
        check_same_shape(pred, target)
        return pred.shape

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Return the weight of each element, broadcastable to ``shape``."""
        if weight is None:
            return None
        weight = align_weight(weight, shape)
        return weight if weight.dtype == dtype else weight.to(dtype)

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        """View a mask of elements so that it broadcasts to an input."""
        return pad_right(elements, tensor.ndim)

    def prepare(self, pred: Any, target: Any, weight: Tensor | None,
                avg_factor: float | Tensor | None) -> Inputs:
        """Check the inputs of a call and align the weight.

        Subclasses take further arguments of a call here, as keyword-only ones.
        """
        shape = self.element_shape(pred, target)
        dtype = first_tensor(pred).dtype

        def like_pred(tensor: Tensor) -> Tensor:
            if tensor.dtype == dtype:  # to ask torch takes ten times as long
                return tensor
            number = tensor.is_floating_point() or tensor.dtype == torch.bool
            return tensor.to(dtype) if number else tensor

        target = map_tensors(like_pred, target)
        return Inputs(pred, target, shape,
                      self.element_weight(weight, shape, dtype), avg_factor)

    @property
    def takes_probabilities(self) -> bool:
        """True if predictions must be from 0 to 1."""
        return False

    def check_values(self, inputs: Inputs) -> None:
        """Raise for values that the formula is not made for."""
        if self.takes_probabilities:
            self.check_range('pred', inputs.pred, inputs, 0, 1)

    def check_range(self, name: str, tensors: Tensors, inputs: Inputs,
                    low: float, high: float) -> None:
        """Raise for a value out of range, see :func:`check_range`."""
        if isinstance(tensors, Tensor):
            tensors = (tensors, )
        for tensor in tensors:
            if not is_outside(tensor, low, high):
                continue
            if self.masks_after_formula and inputs.removed is not None:
                # They may hold any value, and are not 0 yet.
                removed = self.expand_to_input(inputs.removed, tensor)
                tensor = tensor.detach().masked_fill(removed, low)
            check_range(name, tensor, low, high)

    def unreduced(self, inputs: Inputs) -> Tensor:
        """Compute the loss of each element, before any weight."""
        return self.run_formula(
            type(self).elementwise, inputs.pred, inputs.target, *inputs.extras)

    def weigh(self, loss: Tensor, inputs: Inputs) -> Tensor:
        """Apply the weight, and zero removed elements."""
        weight = inputs.weight
        if inputs.masked and (weight is None or self.masks_after_formula):
            assert inputs.removed is not None
            loss = zeroed(loss, inputs.removed)
        return loss if weight is None else loss * weight

    def reduce(self, loss: Tensor, inputs: Inputs, reduction: str) -> Tensor:
        """Reduce the weighted loss, see :func:`reduce_loss`."""
        return reduce_loss(loss, reduction, inputs.denominator,
                           inputs.avg_factor)

    def forward(self,
                pred: Tensors,
                target: Tensors,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                reduction_override: str | None = None,
                *,
                target_weight: Tensor | None = None,
                **options: Any) -> Any:
        """Compute the loss.

        Args:
            pred (Tensor | tuple[Tensor]): The prediction.
            target (Tensor | tuple[Tensor]): The target.
            weight (Tensor, optional): Weight of each element, padded on the
                right with singleton axes and broadcast.
            avg_factor (float | Tensor, optional): Divides the sum of a
                ``'mean'``, instead of the number of elements.
            reduction_override (str, optional): Overrides ``reduction`` for
                this call.
            target_weight (Tensor, optional): mmpose's name of ``weight``.
            options: Further arguments of some losses, see their ``prepare``.
                Other stock names of the weight, such as ``target_weights``
                and ``label_weights``, are accepted too, and those of the first
                two, such as ``cls_score`` and ``label``.

        Returns:
            Tensor: A 0-dim tensor, or one element each for ``'none'``.
        """
        if (isinstance(avg_factor, str) and avg_factor in REDUCTIONS
                or isinstance(reduction_override, (int, float, Tensor))):
            # In this order in mmdet's DiceLoss and GHMC.
            avg_factor, reduction_override = reduction_override, avg_factor
        reduction: Any = reduction_override
        if reduction is None:
            reduction = self.reduction
        check_choice('reduction', reduction, REDUCTIONS)
        check_floating(self.pred_name, pred)
        pred, target = map_tensors(upcast, pred), map_tensors(upcast, target)
        others = [options.pop(x) for x in WEIGHT_NAMES if x in options]
        weight = self.given_weight(weight, target_weight, *others)
        with autocast_off(first_tensor(pred).device.type):
            inputs = self.prepare(pred, target, weight, avg_factor, **options)
            inputs.reduction = reduction
            loss = None
            if self.removes_nothing(inputs):
                inputs.removed = None
            elif self.masks_after_formula:
                loss = self.finite_loss(inputs)
            if loss is None:
                if inputs.removed is not None:
                    self.mask_removed(inputs)
                    inputs.masked = True
                loss = self.checked_loss(inputs)
        return loss if self.loss_weight == 1 else self.loss_weight * loss

    def removes_nothing(self, inputs: Inputs) -> bool:
        """Return True if no element is removed, where to look is free."""
        if inputs.weight is None:
            return inputs.removed is None or is_nothing(inputs.removed)
        return bool(check_not_negative('weight', inputs.weight))

    def checked_loss(self, inputs: Inputs) -> Any:
        """Check the values of a call, and compute the reduced loss."""
        self.check_values(inputs)
        loss = self.weigh(self.unreduced(inputs), inputs)
        return self.reduce(loss, inputs, inputs.reduction)

    def finite_loss(self, inputs: Inputs) -> Tensor | None:
        """Return the loss without masked inputs, if that is finite.

        The product of 0 and a finite loss is 0, and so is its gradient. Where
        to look is free, this takes a third of the time of the masks.
        """
        if not is_visible(first_tensor(inputs.pred)):
            return None
        weight = inputs.weight
        if weight is None:  # labels to ignore
            assert inputs.removed is not None
            dtype = first_tensor(inputs.pred).dtype
            inputs.weight = (~inputs.removed).to(dtype)
        try:
            loss = self.checked_loss(inputs)
        except ValueError:  # perhaps for a removed element
            loss = None
        inputs.weight = weight
        if loss is None:
            return None
        number = loss if loss.ndim == 0 else loss.detach().sum()
        return loss if math.isfinite(number.item()) else None

    def given_weight(self, *given: Tensor | None) -> Tensor | None:
        """Resolve the names of the weight and ``use_target_weight``."""
        found = [weight for weight in given if weight is not None]
        if len(found) > 1:
            names = ', '.join(['weight', 'target_weight', *WEIGHT_NAMES])
            raise ValueError(f'{names} are names of one argument, got '
                             f'{len(found)} of them')
        weight = found[0] if found else None
        if self.use_target_weight is False:
            return None
        if self.use_target_weight and weight is None:
            raise ValueError(f'{type(self).__name__} needs a weight, since it '
                             'was built with use_target_weight=True')
        return weight

    def mask_removed(self, inputs: Inputs) -> None:
        """Zero the inputs of removed elements, before the formula.

        Afterwards would be too late: 0 * NaN is NaN, in value and gradient.
        """
        removed = inputs.removed
        assert removed is not None
        late = self.masks_after_formula and not is_transformed()

        def zero(tensor: Tensor) -> Tensor:
            elements = self.expand_to_input(removed, tensor)
            if late and tensor.is_floating_point():
                return without_gradient(tensor, elements)
            return zeroed(tensor, elements)

        inputs.pred = map_tensors(zero, inputs.pred)
        inputs.target = map_tensors(zero, inputs.target)
        inputs.extras = tuple([zero(extra) for extra in inputs.extras])

    def run_formula(self, formula: Callable[..., Any], *args: Any) -> Any:
        """Call a method of the class, compiled if ``compile`` asks for it."""
        if self.is_compiled:
            return call_compiled(formula, self, *args)
        return formula(self, *args)

    def extra_repr(self) -> str:
        """Return the arguments shown in a printed model."""
        return f'reduction={self.reduction!r}, loss_weight={self.loss_weight}'


def snake_case(name: str) -> str:
    """The name of a class in lower case: GIoULoss becomes giou_loss."""
    words = re.findall('[A-Z]+[0-9]*(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+',
                       name.replace('IoU', 'IOU'))
    return '_'.join(words).lower()


def passed_on(cls: type, method: str) -> Dict[str, inspect.Parameter]:
    """The parameters of a method, and those behind its ``**kwargs``."""
    found: Dict[str, inspect.Parameter] = {}
    by_position = True
    for parent in cls.__mro__:
        if method not in vars(parent):
            continue
        signature = inspect.signature(vars(parent)[method])
        parameters = list(signature.parameters.values())[1:]
        kinds = [parameter.kind for parameter in parameters]
        for parameter in parameters:
            if parameter.kind not in VARIADIC and parameter.name not in found:
                if not by_position:
                    parameter = parameter.replace(kind=parameter.KEYWORD_ONLY)
                found[parameter.name] = parameter
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
        by_position = by_position and VARIADIC[0] in kinds
    return dict(sorted(found.items(), key=lambda item: item[1].kind))


def call_parameters(cls: Type[BaseLoss]) -> List[inspect.Parameter]:
    """The parameters of a call, with the options of ``prepare``."""
    named = inspect.signature(cls.forward).parameters
    if 'args' in list(named)[:2]:  # it takes whatever its parts take
        return list(named.values())[1:]
    found, options = passed_on(cls, 'forward'), passed_on(cls, 'prepare')
    for name in ('pred', 'target'):
        if name not in named:  # the loss has its own names of the two
            found.pop(name, None)
        options.pop(name, None)
    for name, parameter in options.items():
        if not name.startswith('_'):
            parameter = parameter.replace(kind=parameter.KEYWORD_ONLY)
            found.setdefault(name, parameter)
    return sorted(found.values(), key=lambda parameter: parameter.kind)


def call_signature(loss: nn.Module) -> inspect.Signature:
    """The signature of a call of a loss, of mmlosses or anybody else."""
    if isinstance(loss, BaseLoss):
        return inspect.Signature(call_parameters(type(loss)))
    return inspect.signature(loss.forward)
