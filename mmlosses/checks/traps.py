"""Pitfalls of losses in heads that raise no error.

Each function checks one loss of a model after a watched step and yields its
findings. Heads are recognised by class name, so neither mmdet nor mmpose is
imported.
"""
from __future__ import annotations
from typing import Any, Callable, Iterator, List, NamedTuple

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmlosses.core.info import LossInfo
from .findings import Finding, ancestors, class_name, error, warning
from .swaps import BY_NAME
from .watch import LossCall, LossWatch, shape_of, slot_of

# Heads with their own normaliser: the reduction they need, in which slots.
REDUCTIONS = {
    'YOLOXHead': ('sum', ('loss_cls', 'loss_bbox', 'loss_obj', 'loss_l1')),
    'YOLOV3Head': ('sum', ('loss_cls', 'loss_conf', 'loss_xy', 'loss_wh')),
    'YOLOXPoseHead':
    ('sum', ('loss_cls', 'loss_bbox', 'loss_obj', 'loss_bbox_aux')),
    'YOLACTHead': ('none', ('loss_cls', )),
    'FSAFHead': ('none', ('loss_cls', 'loss_bbox')),
    'MultiInstanceBBoxHead': ('none', ('loss_cls', 'loss_bbox')),
}

# What stock losses, which have no `info`, expect; and box losses of users.
STOCK_EXPECTS = {
    'boxes': {
        'BoxLoss', 'IoULoss', 'GIoULoss', 'DIoULoss', 'CIoULoss', 'EIoULoss',
        'SIoULoss', 'BoundedIoULoss'
    },
    'numbers': {'L1Loss', 'SmoothL1Loss', 'MSELoss', 'BalancedL1Loss'},
    'probabilities': {'GaussianFocalLoss', 'DiceLoss'},
}


class Slot(NamedTuple):
    """A loss in its head."""
    path: str
    text: str  # path and class, as messages name it
    name: str  # the attribute of the head
    loss: nn.Module
    head: nn.Module
    calls: List[LossCall]
    model: nn.Module
    cfg: Config


def find_traps(model: nn.Module, watch: LossWatch,
               cfg: Config) -> List[Finding]:
    """All findings at all losses, each once.

    Args:
        model (nn.Module): The model after one step.
        watch (LossWatch): The record of its losses in that step.
        cfg (Config): The whole config.

    Returns:
        list[Finding]: Errors and warnings, in the order of the losses.
    """
    found: List[Finding] = []
    for path, loss in watch.losses.items():
        parent, _, name = slot_of(model, path).rpartition('.')
        slot = Slot(path, watch.describe(path), name, loss,
                    model.get_submodule(parent), watch.calls[path], model, cfg)
        for check in CHECKS:
            found += check(slot)
    return list(dict.fromkeys(found))


def expects(loss: nn.Module) -> str:
    """The prediction that a loss expects, as in ``LossInfo.expects``."""
    info = getattr(type(loss), 'info', None)
    if isinstance(info, LossInfo):
        return info.expects
    names = ancestors(loss)
    return next(
        (kind for kind, stock in STOCK_EXPECTS.items() if stock & names),
        'any')


def forgotten_sigmoid(slot: Slot) -> Iterator[Finding]:
    """Anchor heads read ``use_sigmoid`` from the config, not from the loss."""
    head = slot.head
    if (slot.name == 'loss_cls' and getattr(slot.loss, 'use_sigmoid', False)
            and not getattr(head, 'use_sigmoid_cls', True)):
        yield error(
            f'{slot.text} applies a sigmoid, but {class_name(head)} looks for '
            'use_sigmoid in its config, does not find it, and predicts '
            f'{getattr(head, "cls_out_channels", "C + 1")} channels for a '
            'softmax: write use_sigmoid=True')


def sigmoid_in_box_head(slot: Slot) -> Iterator[Finding]:
    """The box heads of two-stage detectors always score by a softmax."""
    names = ancestors(slot.head)
    # DIIHead follows the loss.
    if (slot.name == 'loss_cls' and 'BBoxHead' in names
            and 'DIIHead' not in names
            and getattr(slot.loss, 'use_sigmoid', False)
            and not getattr(slot.loss, 'custom_activation', False)
            and not getattr(slot.head, 'custom_activation', False)):
        yield warning(
            f'{slot.text} applies a sigmoid, but {class_name(slot.head)} '
            'scores its boxes by a softmax: write use_sigmoid=False if the '
            'loss can do so')


def boxes_not_decoded(slot: Slot) -> Iterator[Finding]:
    """Box losses need a head that decodes its predictions."""
    rotated = expects(slot.loss) == 'rotated boxes'
    if not rotated and expects(slot.loss) not in ('boxes', 'pixel boxes'):
        return
    for call in slot.calls:
        target, weight = tensors(call, 'target', 'weight')
        if (target is None or target.ndim != 2
                or target.shape[-1] != 4 + rotated or not len(target)):
            continue
        if weight is not None and len(weight) == len(target):
            target = target[weight.reshape(len(target), -1).amax(1) > 0]
        low, high = target[:, :2], target[:, 2:4]
        # No ground-truth box of the batch is degenerate; H2RBox has
        # predictions as targets, of which a side may be 0.
        degenerate = high < 0 if rotated else high <= low
        if degenerate.any():
            decoded = getattr(slot.head, 'reg_decoded_bbox', None)
            form, wrong = (('(x, y, width, height, angle)',
                            'a side < 0') if rotated else
                           ('(x1, y1, x2, y2)', 'x2 <= x1'))
            yield error(
                f'{slot.text} needs boxes {form}, but {class_name(slot.head)} '
                f'gives it targets with {wrong}, such as ' +
                str([round(x, 3) for x in target[0].tolist()]) +
                (': write reg_decoded_bbox=True into the head' if decoded is
                 False else ''))
            return


def differences_of_pixels(slot: Slot) -> Iterator[Finding]:
    """A head that decodes its boxes gives a loss of deltas pixels."""
    if (getattr(slot.head, 'reg_decoded_bbox', False)
            and slot.name == 'loss_bbox' and expects(slot.loss) == 'numbers'):
        for call in slot.calls:
            target, = tensors(call, 'target')
            if target is not None and target.numel() and target.max() > 10:
                yield warning(
                    f'{slot.text} compares pixels, since the head has '
                    'reg_decoded_bbox=True: its value and gradient are many '
                    'times those of deltas')
                return


def labels_for_weights(slot: Slot) -> Iterator[Finding]:
    """RoI mask heads pass class labels as the third argument."""
    if (not {'FCNMaskHead', 'MaskPointHead'} & ancestors(slot.head)
            or getattr(slot.loss, 'use_mask', False)):
        return
    for call in slot.calls:
        if isinstance(call.third, Tensor) and call.third.dtype == torch.int64:
            yield error(
                f'{slot.text} gets class labels as its third argument from '
                f'{class_name(slot.head)}, and takes them for weights: only a '
                'loss with use_mask=True knows them')
            return


def reduced_too_early(slot: Slot) -> Iterator[Finding]:
    """Some heads sort or select per-sample losses."""
    for call in slot.calls:
        if (call.inputs.get('reduction_override') == 'none'
                and isinstance(call.output, Tensor) and not call.output.ndim):
            yield warning(
                f'{slot.text} is asked for the loss of each sample '
                "(reduction_override='none') and returns a single number")
            return


def wrong_reduction(slot: Slot) -> Iterator[Finding]:
    """Some heads rely on the ``reduction`` of the config."""
    names = ancestors(slot.head)
    for head, (needed, slots) in REDUCTIONS.items():
        given = getattr(slot.loss, 'reduction', needed)
        if head in names and slot.name in slots and given != needed:
            yield warning(f'{slot.text} has reduction={given!r}, but {head} '
                          f'counts on {needed!r}')


def sigmoid_twice(slot: Slot) -> Iterator[Finding]:
    """Some heads apply the sigmoid themselves."""
    loss = slot.loss
    # In mmpose, use_sigmoid means that the head has applied it.
    if type(loss).__module__.startswith('mmpose'):
        return
    if (not getattr(loss, 'use_sigmoid', False)
            or getattr(loss, 'activate', True) is False
            or getattr(loss, 'activated', False)
            or getattr(loss, 'takes_probabilities', False)):
        return
    if ('VisPredictHead' in ancestors(slot.head)
            and getattr(slot.head, 'use_sigmoid', False)):
        yield error(f'{slot.text} applies a sigmoid, and so does '
                    'VisPredictHead, since it finds use_sigmoid=True in the '
                    'config: leave it out')
        return
    for call in slot.calls:
        pred = first_tensor(call)
        # Fewer logits may lie in [0, 1] by chance.
        if (pred is not None and pred.numel() >= 1000 and pred.min() >= 0
                and pred.max() <= 1 and pred.max() > pred.min()):
            yield warning(
                f'{slot.text} applies a sigmoid to predictions that are '
                f'probabilities already, {shape_of(pred)}: write ' +
                ('activate=False' if hasattr(loss, 'activate'
                                             ) else 'use_sigmoid=False'))
            return


def no_probabilities(slot: Slot) -> Iterator[Finding]:
    """The losses do not check this, which would synchronise with the host."""
    loss = slot.loss
    if expects(loss) != 'probabilities' or (getattr(
            loss, 'use_sigmoid', False) and getattr(loss, 'activate', True)):
        return
    for call in slot.calls:
        pred = first_tensor(call)
        if pred is not None and pred.numel() and (pred.min() < 0
                                                  or pred.max() > 1):
            yield error(f'{slot.text} needs probabilities and gets '
                        f'{shape_of(pred)}: write use_sigmoid=True')
            return


def ignored_weight(slot: Slot) -> Iterator[Finding]:
    """Keypoints without annotation have weight 0."""
    if getattr(slot.loss, 'use_target_weight', None) is not False:
        return
    for call in slot.calls:
        weight, = tensors(call, 'weight')
        if weight is not None and weight.is_floating_point() and (weight
                                                                  == 0).any():
            yield warning(
                f'{slot.text} ignores the weight 0 of what is not annotated, '
                'and learns placeholders: write use_target_weight=True')
            return


def boxes_not_in_pixels(slot: Slot) -> Iterator[Finding]:
    """Some heads have boxes in units of their stride."""
    if expects(slot.loss) != 'pixel boxes':
        return
    for call in slot.calls:
        target, = tensors(call, 'target')
        if target is None or not target.numel():
            continue
        # No box of the batch is narrower than a tenth of the image.
        sides = target[..., 2:] - target[..., :2]
        sides = sides[(sides > 0).all(dim=-1)]
        if len(sides) and sides.min() < 8:
            yield warning(
                f'{slot.text} gets boxes of {sides.min():.2g} from '
                f'{class_name(slot.head)}, which are not in pixels, but '
                f'perhaps in strides: constant={slot.loss.constant} is meant '
                'in their unit')
            return


def sampled_by_name(slot: Slot) -> Iterator[Finding]:
    """mmdet3d compares the type in the config with the names of mmdet."""
    name = type(slot.loss).__name__
    if (slot.name == 'loss_cls' and 'Anchor3DHead' in ancestors(slot.head)
            and getattr(slot.head, 'sampling', False)
            and class_name(slot.loss) == f'mmlosses.{name}'
            and f'mmdet.{name}' in BY_NAME):
        yield error(f'{slot.text}: {class_name(slot.head)} samples anchors '
                    f"unless it reads type='mmdet.{name}' in its config: keep "
                    'that of mmdet here')


def averaged_over_the_batch(slot: Slot) -> Iterator[Finding]:
    """mmpose tuned its learning rates with a sum over the batch."""
    if (expects(slot.loss) == 'bins'
            and getattr(slot.loss, 'size_average', False)
            and slot.cfg.get('default_scope') == 'mmpose'):
        yield warning(
            f'{slot.text} averages over the batch, where that of mmpose '
            'sums: with a learning rate of mmpose write size_average=False')


def mined_twice(slot: Slot) -> Iterator[Finding]:
    """After a sampler, there is nothing left to mine."""
    if not hasattr(slot.loss, 'negative_ratio'):
        return
    sampler = getattr(slot.head, 'sampler', None)
    if sampler is not None and 'PseudoSampler' not in ancestors(sampler):
        yield warning(
            f'{slot.text} looks for hard negatives among those that '
            f'{type(sampler).__name__} has drawn: put '
            "sampler=dict(_delete_=True, type='PseudoSampler') into the "
            'train_cfg of the head')


def margin_without_cosines(slot: Slot) -> Iterator[Finding]:
    """A margin between angles needs a head that predicts scaled cosines."""
    if expects(slot.loss) != 'scaled cosines':
        return
    predictor = getattr(slot.head, 'fc_cls', None)
    if type(predictor) is nn.Linear:
        yield error(
            f'{slot.text} needs scaled cosines, but the classifier of '
            f'{class_name(slot.head)} is a plain linear layer: give it a '
            'cls_predictor_cfg with normalised vectors and the same scale')
        return
    scale = getattr(slot.loss, 'scale', None)
    for name in ('tempearture', 'temperature', 'scale'):
        given = getattr(predictor, name, scale)
        if isinstance(given, (int, float)) and given != scale:
            yield error(f'{slot.text} has scale={scale}, but its predictor '
                        f'{class_name(predictor)} has {name}={given}')
    if getattr(predictor, 'bias', None) is not None:
        yield warning(f'{slot.text} needs scaled cosines, but the predictor '
                      f'{class_name(predictor)} adds a bias: write bias=False')


def never_called(slot: Slot) -> Iterator[Finding]:
    """The head does not use the loss, or not in the first step."""
    # SimCC heads contain a heatmap head for its layers only, and a teacher
    # only predicts.
    taught = [p.requires_grad for p in slot.head.parameters()]
    if (not slot.calls and '.deconv_head.' not in slot.path
            and (not taught or any(taught))):
        yield warning(f'{slot.text} was not called in this step')


CHECKS: List[Callable[[Slot], Iterator[Finding]]] = [
    forgotten_sigmoid, sigmoid_in_box_head, boxes_not_decoded,
    differences_of_pixels, labels_for_weights, reduced_too_early,
    wrong_reduction, sigmoid_twice, no_probabilities, ignored_weight,
    boxes_not_in_pixels, sampled_by_name, averaged_over_the_batch, mined_twice,
    margin_without_cosines, never_called
]


def first_tensor(call: LossCall) -> Tensor | None:
    """The first argument, if it is a floating-point tensor."""
    for value in call.inputs.values():
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.detach()
        return None
    return None


def tensors(call: LossCall, *names: str) -> List[Tensor | None]:
    """Arguments by name; mmpose calls the weight ``target_weight``."""
    found: List[Tensor | None] = []
    for name in names:
        value: Any = call.inputs.get(name)
        if value is None and name == 'weight':
            value = call.inputs.get('target_weight', call.third)
        found.append(value.detach() if isinstance(value, Tensor) else None)
    return found
