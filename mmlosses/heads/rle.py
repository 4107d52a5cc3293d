"""Predict a Gaussian mixture for each keypoint."""
from __future__ import annotations
from typing import Any, Dict, Sequence, Tuple

import torch
from mmpose.evaluation.functional import keypoint_pck_accuracy
from mmpose.models.heads import RLEHead
from mmpose.utils.tensor_utils import to_numpy
from torch import Tensor, nn


class MixtureRLEHead(RLEHead):
    """mmpose's ``RLEHead`` with a Gaussian mixture for each keypoint.

    An ambiguous keypoint, such as that of an occluded person, can have a
    Gaussian at each candidate position. The prediction is the Gaussian whose
    mean has the highest mixture density; the keypoint score comes from its
    standard deviation, as in ``RLEHead``.

    It differs from ``RLEHead`` in the width of ``fc`` and in the loss call:
    mixtures (N * K, G, 4), targets (N * K, 2) and weights (N * K, ), as
    :class:`mmlosses.losses.PROPELLoss` expects. For a single Gaussian use
    ``RLEHead`` with :class:`mmlosses.losses.KeypointPROPELLoss`.

    Args:
        in_channels (int | Sequence[int]): Number of channels of the input.
        num_joints (int): Number of keypoints K.
        num_gaussians (int): Number of Gaussians G per keypoint. Default: 3.
        loss (dict): The loss. Its ``scale`` must be ``'sigmoid'``, the
            activation that the head uses to predict. Default: PROPEL with a
            ``sigma`` of 0.05.
        **kwargs: As for ``RLEHead``: ``decoder`` and ``init_cfg``.

    Example:
        In a config that inherits one of mmpose's RLE configs::

            model = dict(
                head=dict(
                    type='mmlosses.heads.rle.MixtureRLEHead',
                    num_gaussians=3,
                    loss=dict(
                        type='mmlosses.PROPELLoss',
                        sigma=0.05,
                        scale='sigmoid',
                        loss_weight=17.)))
    """
    fc: nn.Linear

    def __init__(self,
                 in_channels: int | Sequence[int],
                 num_joints: int,
                 num_gaussians: int = 3,
                 loss: dict = dict(
                     type='mmlosses.PROPELLoss', sigma=0.05, scale='sigmoid'),
                 **kwargs: Any) -> None:
        super().__init__(in_channels, num_joints, loss=loss, **kwargs)
        self.num_gaussians = num_gaussians
        self.fc = nn.Linear(self.fc.in_features,
                            num_joints * num_gaussians * 4)

    def forward_mixture(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """Predict all Gaussians.

        Args:
            feats (tuple[Tensor]): Features; the last are used.

        Returns:
            Tensor: Means (x, y) and raw deviations of each: (N, K, G, 4).
        """
        out = self.fc(feats[-1].flatten(1))
        return out.reshape(len(out), self.num_joints, self.num_gaussians, 4)

    def forward(self, feats: Tuple[Tensor, ...]) -> Tensor:
        """Predict the densest Gaussian of each keypoint.

        Args:
            feats (tuple[Tensor]): Features; the last are used.

        Returns:
            Tensor: Mean (x, y) and raw deviations: (N, K, 4).
        """
        return densest(self.forward_mixture(feats))

    def loss(self,
             inputs: Tuple[Tensor, ...],
             batch_data_samples: list,
             train_cfg: dict = {}) -> Dict[str, Tensor]:
        """Compute the loss, and the accuracy that ``RLEHead`` logs.

        Args:
            inputs (tuple[Tensor]): Features; the last are used.
            batch_data_samples (list[PoseDataSample]): The targets.
            train_cfg (dict): Unused.

        Returns:
            dict[str, Tensor]: ``loss_kpt`` and ``acc_pose``.
        """
        labels = [d.gt_instance_labels for d in batch_data_samples]
        target = torch.cat([label.keypoint_labels for label in labels])
        weight = torch.cat([label.keypoint_weights for label in labels])
        mixture = self.forward_mixture(inputs)
        loss = self.loss_module(
            mixture.flatten(0, 1), target.flatten(0, 1), weight.flatten())

        best = densest(mixture.detach())[..., :2]
        _, accuracy, _ = keypoint_pck_accuracy(
            pred=to_numpy(best),
            gt=to_numpy(target),
            mask=to_numpy(weight) > 0,
            thr=0.05,
            norm_factor=to_numpy(best.new_ones(len(best), 2)))
        return dict(loss_kpt=loss, acc_pose=target.new_tensor(accuracy))


def densest(mixture: Tensor) -> Tensor:
    r"""Select the Gaussian whose mean has the highest mixture density.

    The mean of the mixture could lie between its modes.

    Args:
        mixture (Tensor): Means (x, y) and raw deviations (\\*, G, 4).

    Returns:
        Tensor: The chosen Gaussian (\\*, 4).
    """
    mean, raw = mixture.split(2, dim=-1)
    log_std = nn.functional.logsigmoid(raw).unsqueeze(-3)
    distance = (mean.unsqueeze(-2) - mean.unsqueeze(-3)) / log_std.exp()
    density = (-0.5 * distance**2 - log_std).sum(dim=-1).logsumexp(dim=-1)
    best = density.argmax(dim=-1, keepdim=True).unsqueeze(-1)
    return mixture.gather(-2, best.expand(*best.shape[:-1], 4)).squeeze(-2)
