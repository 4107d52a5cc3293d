"""Classifiers over angles, for heads that build their last layer by name."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmlosses.losses.margin import check_scale, cosine_logits
from mmlosses.losses.numeric import unit_vectors
from mmlosses.losses.reduction import autocast_off, upcast


class WeightNormLinear(nn.Linear):
    r"""Linear layer with class vectors of length 1 and no bias.

    .. math::
        z_{nj} = x_n \cdot \frac{w_j}{\|w_j\|} = \|x_n\| \cos\theta_{nj}

    With a cross entropy after it, a head learns by the modified softmax, see
    :class:`mmlosses.losses.ModifiedSoftmaxLoss`. The softmax of these logits
    scores the classes at test time, as that of an ``nn.Linear`` does.

    It differs from mmdet's ``NormedLinear``, which scales the features too.
    The logits are in float32 also under autocast.

    Args:
        in_features (int): Size D of the features. The head gives it.
        out_features (int): Number C of classes, with the background where
            the head has one. The head gives it.

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
        """The length of the feature times the cosine."""
        return F.linear(features, unit_vectors(class_vectors))


class CosineLinear(WeightNormLinear):
    r"""Linear layer over the scaled cosines of features and class vectors.

    .. math::
        z_{nj} = s \cos\theta_{nj}

    With a cross entropy after it, a head learns as
    :class:`mmlosses.losses.NormFaceLoss` does, with
    :class:`mmlosses.losses.ArcFaceLogitLoss` of the same ``scale`` as ArcFace
    does. The scale belongs to the layer, and not only to the loss, since the
    softmax at test time needs it: with s = 1 none of 81 classes gets a score
    above 0.09, however the features lie, and mmdet's detectors drop what is
    below 0.05.

    It differs from mmdet's ``NormedLinear(tempearture=s)`` in that there is
    never a bias, which would let the loss see more than angles, and that a
    feature of zeros has an ordinary gradient. The spelling ``tempearture`` is
    another one in mmdet's fork; this name is the same in both. The logits are
    in float32 also under autocast.

    Args:
        in_features (int): Size D of the features. The head gives it.
        out_features (int): Number C of classes, with the background where
            the head has one. The head gives it.
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
        check_scale(scale)
        self.scale = scale

    def similarity(self, features: Tensor, class_vectors: Tensor) -> Tensor:
        """The scaled cosine."""
        return cosine_logits(features, class_vectors, self.scale)

    def extra_repr(self) -> str:
        """Name the scale too, which that of the loss must equal."""
        return f'{super().extra_repr()}, scale={self.scale}'
