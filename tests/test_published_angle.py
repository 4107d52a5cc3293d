"""``angle_distance_loss`` of a question, against its loops."""
import math

import pytest
import torch

from mmlosses.losses import angle_distance_loss


def loss_by_loops(y_true, y_pred, delta=0.2, epsilon=1e-6):
    """The question's loops, with the mean that its last line misses."""
    batch, height, width, _ = y_true.shape
    total = 0.0
    for b in range(batch):
        for h in range(height):
            for w in range(width):
                one, other = y_true[b][h][w], y_pred[b][h][w]
                cosine = float(one[0] * other[0] + one[1] * other[1])
                cosine = max(epsilon, min(cosine, 1 - epsilon))
                total += math.acos(cosine)**(1 + delta)
    return total / (batch * height * width)


def directions(angles):
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


@pytest.mark.parametrize('delta', (0.0, 0.2, 1.0))
def test_value(delta):
    """From 0.1 to 90 degrees, where the question's clip is without effect."""
    generator = torch.Generator().manual_seed(0)
    true = 6.3 * torch.rand(2, 3, 4, generator=generator).double()
    error = 0.002 + 1.56 * torch.rand(2, 3, 4, generator=generator).double()
    y_true, y_pred = directions(true), directions(true + error)
    expected = loss_by_loops(y_true, y_pred, delta)
    for epsilon in (1e-6, 1e-3):
        got = angle_distance_loss(y_true, y_pred, delta, epsilon=epsilon)
        assert math.isclose(got, expected, rel_tol=1e-9)
    assert got == angle_distance_loss(
        y_true=y_true, y_pred=y_pred, delta=delta)


def test_beyond_90_degrees():
    """The question's loss is flat there, with the gradient 0."""
    y_true = torch.tensor([1.0, 0.0]).double().reshape(1, 1, 1, 2)
    for degrees in (100, 179):
        angle = torch.tensor([[[math.radians(degrees)]]], dtype=torch.float64)
        y_pred = directions(angle).requires_grad_()
        loss = angle_distance_loss(y_true, y_pred)
        loss.backward()
        assert y_pred.grad.abs().max() > 1
        assert math.isclose(loss.detach(), math.radians(degrees)**1.2)
        assert math.isclose(
            loss_by_loops(y_true, y_pred.detach()), (math.pi / 2)**1.2,
            rel_tol=1e-5)


def test_target_has_no_gradient_of_the_prediction():
    """The prediction is second, and its gradient turns it."""
    y_true = directions(torch.tensor([[[0.3]]]))
    y_pred = directions(torch.tensor([[[0.8]]])).requires_grad_()
    angle_distance_loss(y_true, y_pred).backward()
    slope = 1.2 * 0.5**0.2
    expected = slope * torch.tensor([-math.sin(0.8), math.cos(0.8)])
    torch.testing.assert_close(y_pred.grad.flatten(), expected)
