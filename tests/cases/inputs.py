"""Inputs and arguments that several families share."""
import torch

CLASSES = 4
CLASS_WEIGHT = [0.5, 2.0, 1.0, 3.0]
NUM_CLASSES, CHANNELS = 5, 4
SIZES = dict(num_classes=NUM_CLASSES, in_channels=CHANNELS)
REFUSED = dict(num_classes=1, in_channels=CHANNELS - 1)
SOFTMAX = dict(REFUSED, use_sigmoid=True)
KEYPOINT_WEIGHT = dict(
    keypoint_weight=({}, dict(keypoint_weight=[0.5, 2.0, 1.0, 3.0])))


def labelled(batch):
    """Scores of 4 classes, and labels, of which the second is 1."""
    target = torch.randint(CLASSES, (batch, ))
    target[1:2] = 1
    return torch.randn(batch, CLASSES), target


def certain(batch):
    """Scores that leave no doubt about the label."""
    _, target = labelled(batch)
    return 200 * torch.nn.functional.one_hot(target, CLASSES).float(), target


def mask_inputs(batch):
    """Logits and soft masks, most of which are below one half."""
    return torch.randn(batch, 4, 5), torch.rand(batch, 4, 5)**4


def mask_perfect(batch):
    """Logits whose sigmoid is their mask, to the last digit."""
    target = (torch.rand(batch, 4, 5) > 0.7).float()
    return 200 * target - 100, target


def metric_inputs(batch):
    """Features and labels."""
    return torch.randn(batch, CHANNELS), torch.arange(batch) % NUM_CLASSES


def keypoints(batch):
    """Coordinates of 4 keypoints, the errors on either side of 1."""
    return torch.randn(batch, 4, 2), torch.randn(batch, 4, 2)


def vectors(batch):
    """Vectors of the plane, of any length: both axes may hold them."""
    return torch.randn(batch, 2, 2), torch.randn(batch, 2, 2)
