"""Cosine classifiers for heads whose last layer is configurable."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmlosses.core.checks import check_number
from mmlosses.core.numeric import unit_vectors
from mmlosses.core.tensors import autocast_off, upcast
from mmlosses.losses.margin import cosine_logits


class WeightNormLinear(nn.Linear):
    r"""Linear layer with normalised class vectors and no bias.

    .. math::
        z_{nj} = x_n \cdot \frac{w_j}{\|w_j\|} = \|x_n\| \cos\theta_{nj}

    With a cross entropy loss this is the modified softmax, see
    :class:`mmlosses.losses.ModifiedSoftmaxLoss`. At test time, apply a softmax
    to these logits as to those of an ``nn.Linear``.

    mmdet's ``NormedLinear`` normalises the features too. The logits are
    float32 even under autocast.

    Args:
        in_features (int): Size D of the features, set by the head.
        out_features (int): Number C of classes, including the background if
            the head has one; set by the head.

    Shape:
        - features: (N, in_features).
        - returns: (N, out_features).

    Example:
        In a config that inherits one of mmdet's Faster R-CNN configs:

        >>> bbox_head = dict(
        ...     cls_predictor_cfg=dict(
        ...         type='mmlosses.heads.cosine.WeightNormLinear'),
        ...     loss_cls=dict(type='mmlosses.CrossEntropyLoss'))

        >>> import torch
        >>> layer = WeightNormLinear(2, 3)
        >>> layer.weight.data = torch.tensor([[9., 0.], [0., 1.], [-5., 0.]])
        >>> layer(torch.tensor([[3., 4.]])).tolist()
        [[3.0, 4.0, -3.0]]
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Compute the logits (N, C) of features (N, D)."""
        features = upcast(features)
        with autocast_off(features.device.type):
            return self.similarity(features, self.weight.to(features.dtype))

    def similarity(self, features: Tensor, class_vectors: Tensor) -> Tensor:
        """Feature norm times cosine."""
        return F.linear(features, unit_vectors(class_vectors))


class CosineLinear(WeightNormLinear):
    r"""Linear layer over the scaled cosines of features and class vectors.

    .. math::
        z_{nj} = s \cos\theta_{nj}

    With a cross entropy loss this is
    :class:`mmlosses.losses.NormFaceLoss`; with
    :class:`mmlosses.losses.ArcFaceLogitLoss` of the same ``scale`` it is
    ArcFace. The layer needs the scale too, for the softmax at test time: with
    s = 1 and 81 classes no score can exceed 0.09, and mmdet's detectors drop
    scores below 0.05.

    Unlike mmdet's ``NormedLinear(tempearture=s)``, there is never a bias,
    which is not an angle, and zero features have finite gradients. mmdet's
    fork spells ``tempearture`` differently; ``scale`` is the same in both. The
    logits are float32 even under autocast.

    Args:
        in_features (int): Size D of the features, set by the head.
        out_features (int): Number C of classes, including the background if
            the head has one; set by the head.
        scale (float): Factor s of the cosine. Default: 32.0.

    Shape:
        - features: (N, in_features).
        - returns: (N, out_features).

    Raises:
        ValueError: If the scale is not positive.

    Example:
        In a config that inherits one of mmdet's Faster R-CNN configs:

        >>> bbox_head = dict(
        ...     cls_predictor_cfg=dict(
        ...         type='mmlosses.heads.cosine.CosineLinear', scale=32.0),
        ...     loss_cls=dict(type='mmlosses.ArcFaceLogitLoss', scale=32.0))

        >>> import torch
        >>> layer = CosineLinear(2, 3, scale=10.0)
        >>> layer.weight.data = torch.tensor([[9., 0.], [0., 1.], [-5., 0.]])
        >>> layer(torch.tensor([[3., 4.]])).detach()
        tensor([[ 6.,  8., -6.]])
    """

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 scale: float = 32.0) -> None:
        super().__init__(in_features, out_features)
        check_number('scale', scale, above=0)
        self.scale = scale

    def similarity(self, features: Tensor, class_vectors: Tensor) -> Tensor:
        """The scaled cosine."""
        return cosine_logits(features, class_vectors, self.scale)

    def extra_repr(self) -> str:
        """Show the scale, which must equal that of the loss."""
        return f'{super().extra_repr()}, scale={self.scale}'
