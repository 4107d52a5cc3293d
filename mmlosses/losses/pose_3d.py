"""Losses of poses in 3D: distances of joints, velocities and bones."""
from __future__ import annotations
from typing import Any, Dict, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import (check_floating, check_numbers,
                                  check_same_shape)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.keypoints import KeypointArguments, PointLoss
from mmlosses.core.statistics import StatisticsLoss
from mmlosses.core.terms import TermsLoss
from mmlosses.registry import MODELS

VIDEO_POSE = Paper(
    'Dario Pavllo, Christoph Feichtenhofer, David Grangier, Michael Auli',
    '3D Human Pose Estimation in Video With Temporal Convolutions and '
    'Semi-Supervised Training', 'CVPR', 2019, '1811.11742')

# In the units of poses, which are metres.
MIN_DEPTH = 1e-6


def mpjpe_loss(pred: Tensor, target: Tensor) -> Tensor:
    r"""Return the distance of each joint: (\*, D) to (\*)."""
    return torch.linalg.vector_norm(pred - target, dim=-1)


def fitted_scale(pred: Tensor, target: Tensor) -> Tensor:
    r"""The factor that fits a pose to its target: (\*, K, D) to (\*, 1, 1).

    It is 0 for a pose of zeros, which no factor fits.
    """
    axes = (-2, -1)
    square = (pred * pred).sum(dim=axes, keepdim=True)
    product = (target * pred).sum(dim=axes, keepdim=True)
    return product / (square + (square == 0))


def velocity_loss(pred: Tensor,
                  target: Tensor,
                  valid: Tensor | None = None) -> Tensor:
    r"""Return the error of each joint's velocity: (\*, F, K, D) to (\*, F, K).

    It is that of the step to a frame, 0 for the first one. Where ``valid`` is
    0 at either end of a step, so is the error.
    """
    error = mpjpe_loss(pred.diff(dim=-3), target.diff(dim=-3))
    if valid is not None:
        error = error * (valid[..., 1:, :] * valid[..., :-1, :])
    return F.pad(error, (0, 0, 1, 0))


def joint_velocity_loss(pred: Tensor,
                        target: Tensor,
                        valid: Tensor | None = None,
                        lambda_scale: float = 0.5,
                        lambda_3d_velocity: float = 20.0) -> Tensor:
    r"""Return the loss of each joint, see :class:`MPJPEVelocityJointLoss`.

    Args:
        pred, target (Tensor): Positions (\*, F, K, D).
        valid (Tensor, optional): 0 for joints to leave out, else 1:
            (\*, F, K). Their positions must be 0.
        lambda_scale, lambda_3d_velocity (float): See the class.
    """
    frames = pred.shape[-3]
    # Of one step less than frames.
    factor = lambda_3d_velocity * frames / max(frames - 1, 1)
    scaled = fitted_scale(pred, target) * pred
    return (mpjpe_loss(pred, target) +
            lambda_scale * mpjpe_loss(scaled, target) +
            factor * velocity_loss(pred, target, valid))


def bone_vectors(pose: Tensor, parents: Tensor, children: Tensor) -> Tensor:
    """Return the vectors of bones from parent to child: (N, B, D)."""
    return pose.index_select(1, children) - pose.index_select(1, parents)


def bone_lengths(pose: Tensor, parents: Tensor, children: Tensor) -> Tensor:
    """Return the length of each bone: (N, K, D) to (N, B)."""
    vectors = bone_vectors(pose, parents, children)
    return torch.linalg.vector_norm(vectors, dim=-1)


def shares_of_absolute(numbers: Tensor) -> Tensor:
    """Split the absolute value of a sum over axis 0 into shares."""
    return numbers * numbers.detach().sum(dim=0).sign()


def register_bones(module: BaseLoss, joint_parents: Sequence[int]) -> None:
    """Keep the parents and children of all bones on the device."""
    if (not isinstance(joint_parents, (list, tuple))
            or not all([isinstance(x, int) for x in joint_parents])):
        raise TypeError('joint_parents must be a list with the index of the '
                        f'parent of each joint, got {joint_parents!r}')
    number = len(joint_parents)
    bones = [(parent, child) for child, parent in enumerate(joint_parents)
             if parent != child]
    if not bones or not all([0 <= x < number for x in joint_parents]):
        raise ValueError(f'joint_parents must be indices from 0 to '
                         f'{number - 1}, not all of the joint itself, got '
                         f'{joint_parents!r}')
    setattr(module, 'joint_parents', joint_parents)
    for name, indices in zip(('_parents', '_children'), zip(*bones)):
        module.register_buffer(name, torch.tensor(indices), persistent=False)


def check_joints(name: str, pose: Tensor,
                 joint_parents: Sequence[int]) -> None:
    """Raise a ``ValueError`` unless a pose has a row for each joint."""
    if pose.ndim != 3 or pose.shape[1] != len(joint_parents):
        raise ValueError(f'{name} must have the shape (N, K, D) for the '
                         f'{len(joint_parents)} joints of joint_parents, got '
                         f'{tuple(pose.shape)}')


def project_points(points: Tensor, intrinsics: Tensor) -> Tensor:
    r"""Project points in front of a camera to its image: (\*, 3) to (\*, 2).

    Normalised coordinates are clamped to [-1, 1], which also catches points
    beside or behind the camera, before the distortion of the lens.

    Args:
        points (Tensor): Positions in the system of the camera (\*, 3).
        intrinsics (Tensor): Focal lengths and centres, and optionally three
            radial and two tangential coefficients: (\*, 4) or (\*, 9), which
            broadcasts.
    """
    depth = points[..., 2:]
    # Where a division would overflow, the point is at the border anyway.
    depth = torch.where(depth.abs() < MIN_DEPTH,
                        torch.full_like(depth, MIN_DEPTH), depth)
    # The division keeps a copy of two coordinates, not a view of all three.
    xy = (points[..., :2].contiguous() / depth).clamp(-1, 1)
    if intrinsics.shape[-1] == 9:
        radial, tangential = intrinsics[..., 4:7], intrinsics[..., 7:]
        r2 = xy.square().sum(dim=-1, keepdim=True)
        powers = torch.cat([r2, r2**2, r2**3], dim=-1)
        factor = 1 + (radial * powers).sum(dim=-1, keepdim=True)
        factor = factor + (tangential * xy).sum(dim=-1, keepdim=True)
        xy = xy * factor + tangential * r2
    return intrinsics[..., :2] * xy + intrinsics[..., 2:4]


@MODELS.register_module()
class MPJPELoss(PointLoss):
    r"""Mean per joint position error: the distance of each joint.

    .. math::
        L = \frac{1}{N K} \sum_{n, k} w_{nk} \, \lVert p_{nk} - t_{nk} \rVert

    Each element is one joint. In a video, the frames are another axis.

    Shape:
        - pred, target: (N, K, D), or with any axes before the coordinates,
          such as (N, F, K, D).
        - weight: (N,), (N, K) or (N, K, 1); (N, K, D) is averaged over D.
        - returns: 0-dim, or (N, K) for ``'none'``.

    Differs from upstream:
        - mmpose returns NaN where a joint of weight 0 holds NaN.
        - mmpose fails on weights (N, K).
    """
    info = LossInfo(
        purpose='poses in 3D',
        slots="``loss`` of mmpose's ``TemporalRegressionHead`` and "
        '``TrajectoryRegressionHead``',
        expects='numbers',
        paper=VIDEO_POSE)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return mpjpe_loss(pred, target)


@MODELS.register_module()
class MPJPEVelocityJointLoss(PointLoss):
    r"""Distances of joints, of those of the scaled pose, and velocities.

    .. math::
        L = \frac{1}{F K} \sum_{f, k} \lVert p_{fk} - t_{fk} \rVert +
        \lambda_s \lVert s_f p_{fk} - t_{fk} \rVert +
        \frac{\lambda_v}{(F - 1) K} \sum_{f > 1, k} \lVert
        (p_{fk} - p_{f-1, k}) - (t_{fk} - t_{f-1, k}) \rVert,
        \qquad s_f = \frac{\sum_k p_{fk} \cdot t_{fk}}
        {\sum_k \lVert p_{fk} \rVert^2}

    averaged over the samples. The scale :math:`s_f` fits the pose of a frame
    to its target. Each element is one joint in one frame, and the velocity
    belongs to the later of two frames.

    Args:
        lambda_scale (float): Factor :math:`\lambda_s` of the distance after
            the scaling; MotionBERT uses 0.5. Default: 0.5.
        lambda_3d_velocity (float): Factor :math:`\lambda_v` of the velocity;
            MotionBERT uses 20. Default: 20.0.

    Shape:
        - pred, target: (N, F, K, D), or (F, K, D) of one sample.
        - weight: (N,), (N, F), (N, F, K) or (N, F, K, 1); (N, F, K, D) is
          averaged over D.
        - returns: 0-dim, or (N, F, K) for ``'none'``.

    Differs from upstream:
        - A joint of weight 0 is left out of the scale, and of the steps that
          start or end there. mmpose keeps it in the scale, and fails on a
          weight for each frame, (N, F, K, 1), as its head passes it.
        - mmpose returns NaN where a joint of weight 0 holds NaN, for a pose
          of zeros and for a single frame.
    """
    info = LossInfo(
        purpose='poses in 3D of a video',
        slots="``loss`` of mmpose's ``MotionRegressionHead``",
        expects='numbers',
        paper=Paper(
            'Wentao Zhu, Xiaoxuan Ma, Zhaoyang Liu, Libin Liu, Wayne Wu, '
            'Yizhou Wang',
            'MotionBERT: A Unified Perspective on Learning Human Motion '
            'Representations', 'ICCV', 2023, '2210.06551'))

    def __init__(self,
                 lambda_scale: float = 0.5,
                 lambda_3d_velocity: float = 20.0,
                 **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(**kwargs)
        check_numbers(
            dict(
                lambda_scale=lambda_scale,
                lambda_3d_velocity=lambda_3d_velocity),
            least=0)
        self.lambda_scale = lambda_scale
        self.lambda_3d_velocity = lambda_3d_velocity

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if pred.ndim < 3:
            raise ValueError('pred must have the shape (N, F, K, D), got '
                             f'{tuple(pred.shape)}')
        return super().element_shape(pred, target)

    def prepare(self, *args: Any, **kwargs: Any) -> Inputs:
        """Mark the joints to leave out: masked, a 1 becomes a 0."""
        inputs = super().prepare(*args, **kwargs)
        if inputs.removed is not None:
            inputs.extras = (inputs.pred.new_ones(tuple(inputs.shape)), )
        return inputs

    def elementwise(self, pred: Tensor, target: Tensor, *extras:
                    Tensor) -> Tensor:
        valid = extras[0] if extras else None
        return joint_velocity_loss(pred, target, valid, self.lambda_scale,
                                   self.lambda_3d_velocity)


@MODELS.register_module()
class BoneLoss(BaseLoss):
    r"""Difference of the mean lengths of bones in a batch.

    .. math::
        L = \frac{1}{B} \sum_b \left| \frac{1}{N} \sum_n w_{nb} \left(
        \lVert p_{nb} \rVert - \lVert t_{nb} \rVert \right) \right|

    with the vectors :math:`p_{nb}` and :math:`t_{nb}` of B bones, from parent
    to child. Each element is a bone of a sample: its share of the loss, which
    is negative where it is too short and the bone too long on average.

    Args:
        joint_parents (list[int]): The index of the parent of each joint. A
            joint that is its own parent is a root and has no bone.
        loss_name (str): The key of mmpose's. Default: ``'loss_bone'``.

    Shape:
        - pred, target: (N, K, D).
        - weight: (N,) or (N, B), or (N, K) for the bone to each joint, of
          which those of the roots have no effect.
        - returns: 0-dim, or (N, B) for ``'none'``.

    Differs from upstream:
        - mmpose documents weights (N, K - 1), and fails on them.
        - mmpose returns NaN where a bone of weight 0 holds NaN, and for an
          empty batch.
        - mmpose takes batches of two sizes. Here only
          :class:`SemiSupervisionLoss` does.
    """
    info = LossInfo(
        purpose='lengths of bones of poses in 3D',
        slots="a term beside the ``loss`` of mmpose's heads for 3D",
        expects='numbers',
        paper=VIDEO_POSE)
    joint_parents: Sequence[int]
    _parents: Tensor
    _children: Tensor

    def __init__(self, joint_parents: Sequence[int],
                 **kwargs: Unpack[CommonArguments]) -> None:
        kwargs.setdefault('loss_name', 'loss_bone')
        super().__init__(**kwargs)
        register_bones(self, joint_parents)

    def prepare(self, pred: Tensor, target: Tensor, weight: Tensor | None,
                *args: Any) -> Inputs:
        """Make bones of joints, and of the weights for joints."""
        check_same_shape(pred, target)
        check_joints('pred', pred, self.joint_parents)
        pred, target = [
            bone_vectors(x, self._parents, self._children)
            for x in (pred, target)
        ]
        if isinstance(weight, Tensor) and weight.shape[1:2] == (len(
                self.joint_parents), ):
            weight = weight.index_select(1, self._children)
        return super().prepare(pred, target, weight, *args)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        return pred.shape[:-1]

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        lengths = [torch.linalg.vector_norm(x, dim=-1) for x in (pred, target)]
        return lengths[0] - lengths[1]

    def weigh(self, loss: Tensor, inputs: Inputs) -> Tensor:
        """Apply the weight, and make the mean of each bone positive."""
        return shares_of_absolute(super().weigh(loss, inputs))


@MODELS.register_module()
class SemiSupervisionLoss(TermsLoss, StatisticsLoss):
    r"""Projections and bones of poses without labels in 3D.

    .. math::
        L_{proj} = \frac{\lambda_p}{N K} \sum_{n, k} \lVert
        \pi(p_{nk} + r_n) - t_{nk} \rVert, \qquad
        L_{bone} = \frac{\lambda_b}{B} \sum_b \left| \frac{1}{N} \sum_n
        \lVert p_{nb} \rVert - \frac{1}{M} \sum_m \lVert q_{mb} \rVert \right|

    with the pose p relative to its root r, the projection :math:`\pi` to the
    image, where the joints are at t, and the vectors of B bones, those of the
    labelled poses q among them. Each element is one sample without labels.

    Args:
        joint_parents (list[int]): See :class:`BoneLoss`.
        projection_loss_weight (float): Factor :math:`\lambda_p`. Default: 1.0.
        bone_loss_weight (float): Factor :math:`\lambda_b`. Default: 1.0.
        warmup_iterations (int): In so many first calls in training mode the
            loss is 0. The count is in the checkpoint. Default: 0.

    Shape:
        - output: a dict of ``labeled_pose`` (M, K, 3), ``unlabeled_pose``
          (N, K, 3) and ``unlabeled_traj`` (N, 1, 3).
        - target: a dict of ``unlabeled_target_2d`` (N, K, 2) and
          ``intrinsics`` (N, 4) or (N, 9): focal lengths, centre, and
          optionally 3 radial and 2 tangential coefficients.
        - weight: (N,).
        - returns: a dict of ``proj_loss`` and ``bone_loss``, each 0-dim, or
          (N,) for ``'none'``.

    Differs from upstream:
        - mmpose returns an empty dict during the warm-up, here the terms are
          0. It also counts calls in validation, and starts again where
          training is resumed.
        - mmpose adds axes to ``intrinsics`` in place, so that the caller's
          tensor changes.
        - mmpose returns NaN for a root and joints at depth 0.
    """
    info = LossInfo(
        purpose='poses in 3D without labels',
        slots="``semi_loss`` of mmpose's ``PoseLifter``, which passes no "
        'targets yet',
        expects='numbers',
        paper=VIDEO_POSE)
    joint_parents: Sequence[int]
    _parents: Tensor
    _children: Tensor

    def __init__(self,
                 joint_parents: Sequence[int],
                 projection_loss_weight: float = 1.0,
                 bone_loss_weight: float = 1.0,
                 warmup_iterations: int = 0,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_numbers(
            dict(
                projection_loss_weight=projection_loss_weight,
                bone_loss_weight=bone_loss_weight,
                warmup_iterations=warmup_iterations),
            least=0)
        register_bones(self, joint_parents)
        self.projection_loss_weight = projection_loss_weight
        self.bone_loss_weight = bone_loss_weight
        self.warmup_iterations = warmup_iterations
        if warmup_iterations:
            self.register_statistics('num_iterations', torch.zeros(()), ())

    def forward(self, output: Dict[str, Tensor], target: Dict[str, Tensor],
                *args: Any, **kwargs: Any) -> Dict[str, Tensor]:
        """Return both terms by name."""
        pred = (output['unlabeled_pose'], output['unlabeled_traj'])
        given = (target['unlabeled_target_2d'], target['intrinsics'],
                 output['labeled_pose'])
        terms = super().forward(pred, given, *args, **kwargs)
        proj, bone = terms.unbind(-1)
        return {'proj_loss': proj, 'bone_loss': bone}

    def element_shape(self, pred: Tuple[Tensor, Tensor],
                      target: Tuple[Tensor, Tensor, Tensor]) -> Sequence[int]:
        (pose, root), (image, intrinsics, labelled) = pred, target
        check_floating('target', target)
        check_joints('unlabeled_pose', pose, self.joint_parents)
        check_joints('labeled_pose', labelled, self.joint_parents)
        number, axes = len(pose), intrinsics.shape[-1]
        if not (root.shape == (number, 1, 3) and axes in (4, 9)
                and intrinsics.shape[0] == number
                and image.shape == (*pose.shape[:2], 2)):
            raise ValueError(
                f'for {number} poses, unlabeled_traj must be (N, 1, 3), '
                'unlabeled_target_2d (N, K, 2) and intrinsics (N, 4) or '
                f'(N, 9), got {tuple(root.shape)}, {tuple(image.shape)} and '
                f'{tuple(intrinsics.shape)}')
        return number, 2

    def prepare(self, *args: Any) -> Inputs:
        """Compute the lengths of labelled bones; remove all in the warm-up."""
        inputs = super().prepare(*args)
        image, intrinsics, labelled = inputs.target
        lengths = bone_lengths(labelled, self._parents, self._children)
        lengths = lengths.sum(dim=0) / max(len(labelled), 1)
        intrinsics = intrinsics.reshape(len(image), 1, intrinsics.shape[-1])
        inputs.target = (image, intrinsics, lengths.expand(len(image), -1))
        inputs.denominator = max(len(image), 1)
        if self.warmup_iterations:
            warming = self.seen('num_iterations') < self.warmup_iterations
            inputs.remove(warming.expand(len(image), 1))
        return inputs

    def moved(self, sums: Tensor) -> Tensor:
        """Count the iteration once, however many ranks took part."""
        return self.statistics + (sums > 0).to(self.statistics.dtype)

    def loss_and_sums(self, pred: Tuple[Tensor, Tensor],
                      target: Tuple[Tensor, Tensor, Tensor], kept: Tensor,
                      buffer: Tensor | None) -> Tuple[Tensor, Tensor]:
        (pose, root), (image, intrinsics, labelled) = pred, target
        projection = mpjpe_loss(
            project_points(pose + root, intrinsics), image).mean(dim=-1)
        lengths = bone_lengths(pose, self._parents, self._children)
        bone = shares_of_absolute(lengths - labelled).mean(dim=-1)
        terms = (self.projection_loss_weight * projection,
                 self.bone_loss_weight * bone)
        return torch.stack(terms, dim=-1), pose.new_ones(())
