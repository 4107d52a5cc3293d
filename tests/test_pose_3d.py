"""Losses of poses in 3D against plain loops, and at their edges."""
import copy
import math

import pytest
import torch

from mmlosses.losses import (BoneLoss, MPJPELoss, MPJPEVelocityJointLoss,
                             SemiSupervisionLoss)

# Human3.6M: hip, right leg, left leg, spine to head, left arm, right arm.
PARENTS = [0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]
NAN = math.nan


def random(*shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(x, generator=generator, dtype=dtype) for x in shapes]


def distance(one, other):
    """Of two lists of coordinates."""
    return math.sqrt(sum([(a - b)**2 for a, b in zip(one, other)]))


def motionbert_by_loops(pred, target, lambda_scale=0.5, lambda_velocity=20.0):
    """Position, position of the scaled pose, and velocity, each a mean."""
    position, scaled, velocity = [], [], []
    for poses, targets in zip(pred.tolist(), target.tolist()):
        for f, (pose, true) in enumerate(zip(poses, targets)):
            dot = sum(
                [a * b for p, t in zip(pose, true) for a, b in zip(p, t)])
            square = sum([a * a for p in pose for a in p])
            for k, (p, t) in enumerate(zip(pose, true)):
                position.append(distance(p, t))
                scaled.append(distance([dot / square * a for a in p], t))
                if f > 0:
                    step = [a - b for a, b in zip(p, poses[f - 1][k])]
                    true_step = [a - b for a, b in zip(t, targets[f - 1][k])]
                    velocity.append(distance(step, true_step))
    return (sum(position) / len(position) +
            lambda_scale * sum(scaled) / len(scaled) +
            lambda_velocity * sum(velocity) / len(velocity))


def bone_by_loops(pred, target, parents):
    """The difference of the mean lengths of each bone."""
    errors = []
    for child, parent in enumerate(parents):
        if parent != child:
            lengths = [[distance(pose[child], pose[parent]) for pose in poses]
                       for poses in (pred.tolist(), target.tolist())]
            means = [sum(each) / len(each) for each in lengths]
            errors.append(abs(means[0] - means[1]))
    return sum(errors) / len(errors)


def project_by_hand(point, intrinsics):
    """A camera with the distortion of VideoPose3D."""
    fx, fy, cx, cy, k1, k2, k3, p1, p2 = intrinsics
    x, y = [min(max(a / point[2], -1), 1) for a in point[:2]]
    r2 = x * x + y * y
    factor = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * x + p2 * y
    return [fx * (x * factor + p1 * r2) + cx, fy * (y * factor + p2 * r2) + cy]


def semi_inputs(intrinsics=9, unlabelled=4, labelled=6, dtype=torch.float64):
    pose, root, known, image, camera = random(
        (unlabelled, 17, 3), (unlabelled, 1, 3), (labelled, 17, 3),
        (unlabelled, 17, 2), (unlabelled, intrinsics),
        dtype=dtype)
    root[..., 2] += 4
    output = dict(labeled_pose=known, unlabeled_pose=pose, unlabeled_traj=root)
    return output, dict(unlabeled_target_2d=image, intrinsics=camera)


@pytest.mark.parametrize('shape', [(5, 17, 3), (2, 9, 17, 3), (5, 17, 2)])
def test_mpjpe_matches_loops(shape):
    pred, target = random(shape, shape)
    rows = [x.reshape(-1, shape[-1]).tolist() for x in (pred, target)]
    errors = [distance(*both) for both in zip(*rows)]
    assert MPJPELoss()(pred, target).item() == pytest.approx(
        sum(errors) / len(errors))


@pytest.mark.parametrize('kwargs',
                         [{}, dict(lambda_scale=2, lambda_3d_velocity=3)])
def test_motionbert_matches_loops(kwargs):
    pred, target = random((2, 5, 17, 3), (2, 5, 17, 3))
    got = MPJPEVelocityJointLoss(**kwargs)(pred, target)
    expected = motionbert_by_loops(pred, target, *kwargs.values())
    assert got.item() == pytest.approx(expected)


def test_bone_matches_loops():
    pred, target = random((5, 17, 3), (5, 17, 3))
    got = BoneLoss(PARENTS)(pred, target)
    assert got.item() == pytest.approx(bone_by_loops(pred, target, PARENTS))
    elements = BoneLoss(PARENTS, reduction='none')(pred, target)
    assert elements.shape == (5, 16) and (elements.mean(dim=0) > 0).all()


@pytest.mark.parametrize('intrinsics', [4, 9])
def test_semi_supervision_matches_loops(intrinsics):
    """Labelled and unlabelled poses may be of different number."""
    output, target = semi_inputs(intrinsics)
    got = SemiSupervisionLoss(
        PARENTS, projection_loss_weight=2, bone_loss_weight=3)(output, target)
    errors = []
    pose, camera = output['unlabeled_pose'], target['intrinsics']
    for n in range(4):
        values = (camera[n].tolist() + [0] * 5)[:9]
        for k in range(17):
            point = (pose[n, k] + output['unlabeled_traj'][n, 0]).tolist()
            errors.append(
                distance(
                    project_by_hand(point, values),
                    target['unlabeled_target_2d'][n, k].tolist()))
    assert got['proj_loss'].item() == pytest.approx(2 * sum(errors) / 68)
    expected = bone_by_loops(pose, output['labeled_pose'], PARENTS)
    assert got['bone_loss'].item() == pytest.approx(3 * expected)


@pytest.mark.openmmlab
@pytest.mark.parametrize('loss, kwargs, shape, weighted', [
    (MPJPELoss, {}, (5, 17, 3), False),
    (MPJPELoss, dict(use_target_weight=True), (5, 17, 3), True),
    (MPJPELoss, dict(use_target_weight=True), (5, 1, 3), True),
    (MPJPEVelocityJointLoss, dict(loss_weight=0.5), (2, 5, 17, 3), False),
    (MPJPEVelocityJointLoss, dict(lambda_scale=1, lambda_3d_velocity=2),
     (2, 5, 17, 3), False),
    (BoneLoss, dict(joint_parents=PARENTS), (5, 17, 3), False),
    (BoneLoss, dict(joint_parents=PARENTS, use_target_weight=True),
     (5, 17, 3), True),
])
def test_matches_mmpose(loss, kwargs, shape, weighted):
    stock = pytest.importorskip('mmpose.models.losses')
    stock = getattr(stock, loss.__name__)(**kwargs)
    pred, target, weight = random(shape, shape, shape[:-1])
    pred.requires_grad_()
    weight = weight.abs()
    if loss is MPJPELoss:
        weight = weight.unsqueeze(-1)
    results = []
    for each in (loss(**kwargs), stock):
        value = each(pred, target, *([weight] if weighted else []))
        results.append((value, *torch.autograd.grad(value, pred)))
    torch.testing.assert_close(*results)


@pytest.mark.openmmlab
@pytest.mark.parametrize('intrinsics', [4, 9])
def test_semi_supervision_matches_mmpose(intrinsics):
    stock = pytest.importorskip('mmpose.models.losses')
    kwargs = dict(
        joint_parents=PARENTS, projection_loss_weight=2, bone_loss_weight=3)
    results = []
    for kind in (SemiSupervisionLoss, stock.SemiSupervisionLoss):
        output, target = semi_inputs(intrinsics)
        leaves = [x.requires_grad_() for x in output.values()]
        terms = kind(**kwargs)(output, target)
        total = terms['proj_loss'] + terms['bone_loss']
        results.append((terms, torch.autograd.grad(total, leaves)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize('loss', [
    MPJPELoss(),
    MPJPEVelocityJointLoss(),
    BoneLoss(PARENTS),
])
@pytest.mark.parametrize('zero', [False, True])
def test_gradient_at_a_perfect_prediction(loss, zero):
    """Distances, bones and poses of length 0."""
    target = torch.zeros(2, 3, 17, 3) if zero else torch.ones(2, 3, 17, 3)
    if isinstance(loss, BoneLoss):
        target = target[:, 0]
    pred = target.clone().requires_grad_()
    loss(pred, target).backward()
    assert torch.count_nonzero(pred.grad) == 0


def test_pose_of_zeros_has_a_finite_gradient():
    """mmpose divides 0 by 0 to find its scale."""
    pred = torch.zeros(1, 2, 17, 3, requires_grad=True)
    got = MPJPEVelocityJointLoss()(pred, torch.ones(1, 2, 17, 3))
    got.backward()
    assert got.item() == pytest.approx(1.5 * math.sqrt(3))
    assert pred.grad.isfinite().all()


def test_single_frame_has_no_velocity():
    """mmpose averages no numbers."""
    pred, target = random((2, 1, 17, 3), (2, 1, 17, 3))
    got = MPJPEVelocityJointLoss()(pred, target)
    torch.testing.assert_close(
        got,
        MPJPEVelocityJointLoss(lambda_3d_velocity=0)(pred, target))


def test_missing_joint_is_left_out_of_scale_and_steps():
    """The loss is that of a skeleton without it, times its joints."""
    pred, target = random((2, 4, 3, 3), (2, 4, 3, 3))
    loss = MPJPEVelocityJointLoss(reduction='sum')
    weight = torch.tensor([1.0, 0.0, 1.0]).expand(2, 4, 3)
    expected = loss(pred[:, :, ::2], target[:, :, ::2])
    pred[:, :, 1] = NAN
    torch.testing.assert_close(loss(pred, target, weight), expected)


def test_missing_frame_has_no_steps():
    """Not even one to it or from it, of whatever length."""
    pred, target = random((1, 3, 2, 3), (1, 3, 2, 3))
    target[:, 1] = NAN
    pred = pred.requires_grad_()
    weight = torch.tensor([[1.0, 0.0, 1.0]])
    got = MPJPEVelocityJointLoss(reduction='none')(pred, target, weight)
    alone = MPJPEVelocityJointLoss(lambda_3d_velocity=0, reduction='none')
    torch.testing.assert_close(got, alone(pred, target, weight))
    got.sum().backward()
    assert (pred.grad[:, 1] == 0).all() and pred.grad.isfinite().all()


def test_weight_for_each_frame_as_the_head_passes_it():
    """(N, F, K, 1), at which mmpose's velocity fails."""
    pred, target = random((2, 5, 17, 3), (2, 5, 17, 3))
    loss = MPJPEVelocityJointLoss(use_target_weight=True)
    ones = torch.ones(2, 5, 17, 1)
    expected = MPJPEVelocityJointLoss()(pred, target)
    torch.testing.assert_close(loss(pred, target, ones), expected)
    torch.testing.assert_close(loss(pred, target, 0.5 * ones), 0.5 * expected)


@pytest.mark.parametrize('loss', [MPJPELoss(), MPJPEVelocityJointLoss()])
def test_weights_of_coordinates_are_averaged(loss):
    pred, target, weight = random((2, 4, 5, 3), (2, 4, 5, 3), (2, 4, 5))
    weight = weight.abs()
    torch.testing.assert_close(
        loss(pred, target, weight[..., None].expand(2, 4, 5, 3)),
        loss(pred, target, weight))


def test_weights_of_bones_and_joints():
    """(N, K) as mmpose takes, (N, B) as it documents."""
    pred, target, weight = random((5, 17, 3), (5, 17, 3), (5, 17))
    weight = weight.abs()
    loss = BoneLoss(PARENTS)
    torch.testing.assert_close(
        loss(pred, target, weight), loss(pred, target, weight[:, 1:]))
    missing = (torch.arange(17) != 3).double().expand(5, 17)
    expected = loss(pred, target, missing)
    pred[:, 3] = NAN
    torch.testing.assert_close(loss(pred, target, missing), expected)


def test_warm_up():
    """The terms are 0; the count ignores validation and survives a resume."""
    inputs = semi_inputs(dtype=torch.float32)
    inputs[0]['unlabeled_pose'].requires_grad_()
    loss = SemiSupervisionLoss(PARENTS, warmup_iterations=2)

    def total(loss):
        return sum(loss(*inputs).values())

    first = total(loss)
    first.backward()
    assert first == 0
    assert (inputs[0]['unlabeled_pose'].grad == 0).all()
    loss.eval()
    assert [total(loss).item() for _ in range(3)] == [0, 0, 0]
    resumed = SemiSupervisionLoss(PARENTS, warmup_iterations=2)
    resumed.load_state_dict(loss.state_dict())
    assert total(resumed) == 0
    expected = total(SemiSupervisionLoss(PARENTS))
    torch.testing.assert_close(total(resumed), expected)
    torch.testing.assert_close(total(resumed.eval()), expected)


def test_intrinsics_keep_their_shape():
    """mmpose adds an axis in place."""
    output, target = semi_inputs()
    before = copy.deepcopy(target)
    for _ in range(2):
        SemiSupervisionLoss(PARENTS)(output, target)
    torch.testing.assert_close(target, before)
    camera = target['intrinsics']
    expected = SemiSupervisionLoss(PARENTS)(output, target)
    target['intrinsics'] = camera[:, None]
    torch.testing.assert_close(
        SemiSupervisionLoss(PARENTS)(output, target), expected)


@pytest.mark.parametrize('depth', [0.0, 1e-30, -1.0])
def test_projection_of_a_point_beside_the_camera(depth):
    """mmpose's gradient is NaN at depth 0."""
    output, target = semi_inputs(dtype=torch.float32)
    output['unlabeled_pose'][0] = 0
    output['unlabeled_pose'][1, :, :2] = 0
    for name in ('unlabeled_pose', 'unlabeled_traj'):
        output[name][:2, :, 2] = depth / 2
    leaves = [x.requires_grad_() for x in output.values()]
    terms = SemiSupervisionLoss(PARENTS)(output, target)
    terms['proj_loss'].backward()
    assert terms['proj_loss'].isfinite()
    assert all([x.grad.isfinite().all() for x in leaves[1:]])


@pytest.mark.parametrize('parents, error', [
    (None, TypeError),
    ([0.0, 0.0], TypeError),
    ([0, 2], ValueError),
    ([0, -1], ValueError),
    ([0, 1], ValueError),
    ([], ValueError),
])
def test_wrong_joint_parents(parents, error):
    for loss in (BoneLoss, SemiSupervisionLoss):
        with pytest.raises(error, match='joint_parents'):
            loss(parents)
