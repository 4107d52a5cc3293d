"""Cases of the family pose_3d."""
import torch

from mmlosses.losses import (BoneLoss, MPJPELoss, MPJPEVelocityJointLoss,
                             SemiSupervisionLoss)
from mmlosses.testing import LossCase
from .inputs import KEYPOINT_WEIGHT

PARENTS = [0, 0, 1, 0]


def poses(batch):
    """Poses of 4 joints."""
    return torch.randn(batch, 4, 3), torch.randn(batch, 4, 3)


def perfect_poses(batch):
    """The truth, in numbers whose squares are exact."""
    truth = torch.randint(-4, 5, (batch, 4, 3)).float()
    return truth, truth


def videos(batch):
    """Poses of 4 joints in 3 frames."""
    return torch.randn(batch, 3, 4, 3), torch.randn(batch, 3, 4, 3)


def perfect_videos(batch):
    """The truth, in numbers whose squares are exact."""
    truth = torch.randint(-4, 5, (batch, 3, 4, 3)).float()
    return truth, truth


def long_bones(batch):
    """Each bone is longer than its target: weights cannot change a sign."""
    return 9 * distinct(batch) + torch.randn(batch, 4, 3), distinct(batch)


def distinct(batch):
    """Joints far from each other."""
    return torch.randn(batch, 4, 3) / 8 + 9 * torch.eye(4)[:, :3]


def unlabelled(batch):
    """Poses before the camera, with longer bones than the labelled ones."""
    root = torch.rand(batch, 1, 3) + torch.tensor([0, 0, 8.0])
    intrinsics = torch.rand(batch, 9)
    return (long_bones(batch)[0] / 40, root), (torch.randn(batch, 4,
                                                           2), intrinsics,
                                               torch.randn(batch, 4, 3) / 40)


def perfect_unlabelled(batch):
    """One pose, in numbers whose squares and quotients are exact."""
    pose = torch.tensor([[0, 0, 0], [0.75, 0, 0], [0, 1, 0], [0, -0.5, 0]])
    pose = pose.expand(batch, 4, 3)
    root = torch.tensor([0, 0, 1.0]).expand(batch, 1, 3)
    intrinsics = torch.tensor([1.0, 1, 0, 0]).expand(batch, 4)
    return (pose, root), (pose[..., :2], intrinsics, pose)


def semi_call(loss, pred, target, *args, **kwargs):
    """One number: the sum of both terms of the dict."""
    (pose, root), (image, intrinsics, labelled) = pred, target
    output = dict(
        labeled_pose=labelled, unlabeled_pose=pose, unlabeled_traj=root)
    given = dict(unlabeled_target_2d=image, intrinsics=intrinsics)
    terms = loss(output, given, *args, **kwargs)
    return terms['proj_loss'] + terms['bone_loss']


CASES = [
    LossCase(
        loss=MPJPELoss,
        inputs=poses,
        element_shape=lambda batch: (batch, 4),
        arguments=KEYPOINT_WEIGHT,
        stock_kwargs=[dict(use_target_weight=True)],
        perfect=perfect_poses,
        non_negative=True),
    LossCase(
        loss=MPJPEVelocityJointLoss,
        inputs=videos,
        element_shape=lambda batch: (batch, 3, 4),
        arguments=dict(
            lambda_scale=({}, dict(lambda_scale=0)),
            lambda_3d_velocity=({}, dict(lambda_3d_velocity=0)),
            **KEYPOINT_WEIGHT),
        stock_kwargs=[dict(use_target_weight=False)],
        perfect=perfect_videos,
        non_negative=True,
        # A joint that is left out changes the scale and the steps beside it.
        selects=True),
    LossCase(
        loss=BoneLoss,
        inputs=long_bones,
        element_shape=lambda batch: (batch, 3),
        kwargs=dict(joint_parents=PARENTS),
        refused=dict(joint_parents=[1, 0]),
        stock_kwargs=[dict(loss_name='loss_bone')],
        perfect=perfect_poses,
        selects=True),
    LossCase(
        loss=SemiSupervisionLoss,
        inputs=unlabelled,
        element_shape=lambda batch: (batch, ),
        kwargs=dict(joint_parents=PARENTS),
        arguments=dict(
            projection_loss_weight=({}, dict(projection_loss_weight=2)),
            bone_loss_weight=({}, dict(bone_loss_weight=2)),
            warmup_iterations=({}, dict(warmup_iterations=1))),
        refused=dict(joint_parents=[1, 0]),
        stock_kwargs=[dict(warmup_iterations=0)],
        perfect=perfect_unlabelled,
        call=semi_call,
        training=False,
        counts_targets=True,
        selects=True),
]
