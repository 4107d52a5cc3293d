"""Random arguments for the calls of the benchmark."""
from __future__ import annotations
import math
from typing import Any, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .rotated import corners_of

Arguments = Tuple[Any, ...]

# The parent of each joint of Human3.6M.
PARENTS = [0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]


def leaf(tensors: Any) -> Any:
    """Let a prediction require a gradient."""
    if isinstance(tensors, (tuple, list)):
        return type(tensors)([leaf(x) for x in tensors])
    return tensors.detach().requires_grad_()


def heatmap_pair(batch: int = 64) -> Arguments:
    """Heatmaps of 17 keypoints."""
    shape = batch, 17, 64, 48
    return torch.randn(shape), torch.randn(shape)


def keypoint_maps(batch: int = 64,
                  maps: int = 1,
                  height: int = 64,
                  width: int = 48) -> Arguments:
    """Probabilities and heatmaps of 17 keypoints, some not visible."""
    pred, target = [
        torch.rand(batch, 17 * maps, height, width) for _ in range(2)
    ]
    target[:, ::3, height // 2, width // 2] = 1
    weight = (torch.rand(batch, 17) > 0.2).float()
    return leaf(0.98 * pred + 0.01), target, weight


def box_pairs(batch: int = 20_000) -> Arguments:
    """Boxes that overlap their target."""
    low = 400 * torch.rand(batch, 2)
    target = torch.cat([low, low + 40 + 80 * torch.rand(batch, 2)], -1)
    return target + 6 * torch.randn(batch, 4), target


def box_pairs_3d(batch: int = 20_000) -> Arguments:
    """Boxes in 3D that overlap their target."""
    low = 20 * torch.rand(batch, 3)
    target = torch.cat([low, low + 2 + 4 * torch.rand(batch, 3)], -1)
    return leaf(target + 0.3 * torch.randn(batch, 6)), target


def uncertain_numbers(count: int = 100_000) -> Arguments:
    """Numbers with log deviations."""
    pred, target, sigma = [torch.randn(count) for _ in range(3)]
    return leaf(pred), target, leaf(sigma)


def point_sets(samples: int = 8,
               sources: int = 1024,
               targets: int = 256) -> Arguments:
    """Two sets of points in 3D."""
    return (leaf(torch.randn(samples, sources,
                             3)), torch.randn(samples, targets, 3))


def rotated_pairs(batch: int = 20_000) -> Arguments:
    """Rotated boxes that overlap their target."""
    target = torch.cat([
        400 * torch.rand(batch, 2), 40 + 80 * torch.rand(batch, 2),
        6 * torch.rand(batch, 1) - 3
    ], -1)
    error = torch.randn(batch, 5) * torch.tensor([6, 6, 6, 6, 0.1])
    return target + error, target


def deltas_and_boxes(batch: int = 20_000) -> Arguments:
    """Deltas of both, no weight and factor, and :func:`rotated_pairs`."""
    pred, target = rotated_pairs(batch)
    deltas, goals = torch.randn(2, batch, 5)
    return leaf(deltas), goals, None, None, leaf(pred), target


def points_and_corners(batch: int = 2_000) -> Arguments:
    """Nine points about quadrilaterals."""
    _, boxes = rotated_pairs(batch)
    corners = corners_of(boxes)
    middle = (corners + corners.roll(1, 1)) / 2
    points = torch.cat([corners, middle, corners.mean(dim=1, keepdim=True)], 1)
    points = points + 4 * torch.randn_like(points)
    return points.flatten(1), corners.flatten(1)


def soft_bins(batch: int = 20_000) -> Arguments:
    """Logits of 180 angles, and a window about the right one."""
    place = torch.arange(180) - torch.randint(180, (batch, 1))
    distance = (place + 90) % 180 - 90
    return torch.randn(batch, 180), torch.exp(-distance**2 / 72)


def angles(images: int = 16, height: int = 128, width: int = 128) -> Arguments:
    """Unit vectors up to 80 degrees apart, where the tutorial is right."""
    angle = 2 * math.pi * torch.rand(images, height, width)
    error = torch.empty_like(angle).uniform_(0.1, 1.4)
    pred, target = [
        torch.stack([x.cos(), x.sin()], dim=-1) for x in (angle + error, angle)
    ]
    return leaf(pred), target


def mixtures(samples: int = 4096,
             gaussians: int = 10,
             dimensions: int = 3) -> Arguments:
    """Mixtures near their target, where torchpropel does not overflow."""
    target = 0.1 * torch.randn(samples, dimensions)
    mean = target.unsqueeze(1) + 0.1 * torch.randn(samples, gaussians,
                                                   dimensions)
    pred = torch.cat([mean, 0.1 + 0.1 * torch.rand_like(mean)], dim=-1)
    return leaf(pred), target


def keypoint_gaussians(images: int = 1024, keypoints: int = 17) -> Arguments:
    """Keypoints with a deviation."""
    target = torch.rand(images, keypoints, 2)
    mean = leaf(target + 0.1 * torch.randn_like(target))
    return mean, leaf(0.1 + 0.1 * torch.rand_like(target)), target


def scores(samples: int = 4096, classes: int = 1000) -> Arguments:
    """Scores and labels."""
    return leaf(torch.randn(samples,
                            classes)), torch.randint(classes, (samples, ))


def detections(boxes: int = 20_000, classes: int = 80) -> Arguments:
    """Scores and labels, of which 98 % are background."""
    pred, labels = scores(boxes, classes)
    labels[torch.rand(boxes) > 0.02] = classes
    return pred, labels


def rated_detections(boxes: int = 20_000, classes: int = 80) -> Arguments:
    """Logits, and labels as :func:`detections` with a quality each."""
    pred, labels = detections(boxes, classes)
    return pred, (labels, torch.rand(boxes))


def weighted_detections(boxes: int = 20_000, classes: int = 80) -> Arguments:
    """Logits and labels as :func:`detections`, with weights of 1."""
    return (*detections(boxes, classes), torch.ones(boxes))


def weighted_deltas(boxes: int = 20_000) -> Arguments:
    """Box deltas with errors of 0.1, with weights of 1."""
    target = torch.randn(boxes, 4)
    pred = target + 0.1 * torch.randn(boxes, 4)
    return leaf(pred), target, torch.ones(boxes, 4)


def lvis_scores(samples: int = 1024,
                classes: int = 1203,
                others: int = 2) -> Arguments:
    """Scores of classes and background, and labels."""
    pred = torch.randn(samples, classes + others)
    return leaf(pred), torch.randint(classes + 1, (samples, ))


def labelled_features(samples: int = 256,
                      channels: int = 512,
                      classes: int = 10_000) -> Arguments:
    """Features and labels."""
    return leaf(torch.randn(samples,
                            channels)), torch.randint(classes, (samples, ))


def cosines(samples: int = 512, classes: int = 1231) -> Arguments:
    """Cosines of a head with class vectors, and labels."""
    cosine = leaf(torch.empty(samples, classes).uniform_(-0.5, 0.8))
    return cosine, torch.randint(classes - 1, (samples, ))


def embeddings(samples: int = 20_000,
               channels: int = 256,
               classes: int = 80) -> Arguments:
    """Embeddings of positives, class vectors and labels."""
    features, labels = labelled_features(samples, channels, classes)
    return features, leaf(torch.randn(classes, channels)), labels


def anchors(images: int = 8,
            anchors: int = 20_000,
            channels: int = 256,
            objects: int = 20,
            classes: int = 80) -> Arguments:
    """Anchors with embeddings, of which a few percent match an object."""
    low = 480 * torch.rand(images, objects, 2)
    boxes = torch.cat([low, low + 32 + 96 * torch.rand_like(low)], dim=-1)
    labels = torch.randint(classes, (images, objects, 1))
    annotations = torch.cat([boxes, labels.float()], dim=-1)
    index = torch.randint(objects, (images, anchors, 1)).expand(-1, -1, 4)
    grid = boxes.gather(1, index) + 40 * torch.randn(images, anchors, 4)
    low, high = grid[..., :2], grid[..., 2:]
    grid = torch.cat([torch.minimum(low, high), torch.maximum(low, high)], -1)
    features = leaf(torch.randn(images, anchors, channels))
    return grid, features, leaf(torch.randn(classes, channels)), annotations


def blobs(*shape: int) -> Tensor:
    """Smooth logits, as of a network."""
    noise = torch.randn(shape)
    smooth = F.avg_pool2d(noise.reshape(-1, 1, *shape[-2:]), 9, 1, 4)
    return smooth.reshape(shape) / smooth.std() + 0.3 * noise


def text_masks(images: int = 16, side: int = 640) -> Arguments:
    """Maps with 5 % positives."""
    target = (blobs(images, 1, side, side) > 1.7).float()
    return leaf(2 * blobs(images, 1, side, side) + 3 * target - 3), target


def object_masks(objects: int = 64, side: int = 112) -> Arguments:
    """Masks of RoIs."""
    target = (blobs(objects, side, side) > 0).float()
    return leaf(blobs(objects, side, side)), target


def label_maps(images: int = 2,
               classes: int = 19,
               side: int = 512) -> Arguments:
    """Scores of classes for each pixel, most of them right, and labels."""
    labels = blobs(images, classes, side, side).argmax(dim=1)
    scores = 2 * torch.randn(images, classes, side, side)
    right = F.one_hot(labels, classes).movedim(-1, 1)
    return leaf(scores + 4 * right), labels


def edge_maps(images: int = 6, side: int = 512) -> Arguments:
    """Logits of edges, and the edges of some regions."""
    regions = (blobs(images, 1, side, side) > 0).float()
    edges = F.max_pool2d(regions, 3, 1, 1) - regions
    return leaf(blobs(images, 1, side, side) - 1), edges[:, 0]


def depth_maps(images: int = 8,
               height: int = 480,
               width: int = 640) -> Arguments:
    """Depths in metres, a quarter of them not annotated."""
    shape = images, 1, height, width
    target = 10 * torch.rand(shape) * (torch.rand(shape) > 0.25)
    return leaf(10 * torch.rand(shape)), target


def two_scores(samples: int = 4096, classes: int = 1000) -> Arguments:
    """Scores of a student and of a teacher."""
    return leaf(torch.randn(samples, classes)), torch.randn(samples, classes)


def heatmaps(images: int = 4, classes: int = 80, side: int = 128) -> Arguments:
    """Logits, and a Gaussian in every tenth class."""
    pred = torch.randn(images, classes, side, side) - 2
    place = torch.arange(side).float()
    target = torch.zeros(images, classes, side, side)
    for image in range(images):
        for index in range(0, classes, 10):
            x, y = torch.randint(side, (2, )).tolist()
            lines = [torch.exp(-(place - centre)**2 / 18) for centre in (y, x)]
            target[image, index] = lines[0][:, None] * lines[1]
    return leaf(pred), target


def tags(images: int = 8, objects: int = 30, side: int = 128) -> Arguments:
    """Maps of tags, and the corners of the objects."""
    maps = [leaf(torch.randn(images, 1, side, side)) for _ in range(2)]
    return (*maps, torch.randint(side, (images, objects, 2, 2)).tolist())


def corners(images: int = 2,
            classes: int = 80,
            side: int = 128,
            objects: int = 30) -> Arguments:
    """One stack of CornerNet, padded to 128 objects."""
    heat0, target0 = heatmaps(images, classes, side)
    heat1, target1 = heatmaps(images, classes, side)
    tags = [leaf(torch.randn(images, 128, 1)) for _ in range(2)]
    offsets = [leaf(torch.randn(images, 128, 2)) for _ in range(2)]
    mask = (torch.arange(128) < objects).expand(images, -1).contiguous()
    regr = [torch.rand(images, 128, 2) for _ in range(2)]
    return [heat0, heat1, *tags, *offsets], [target0, target1, mask, *regr]


def likelihoods(images: int = 64,
                keypoints: int = 17,
                size: int = 192) -> Arguments:
    """Distributions and densities over two axes; and weights."""
    pred, target, weight = bins(images, keypoints, size)
    pred = tuple([leaf(axis.detach().softmax(dim=-1)) for axis in pred])
    return pred, target, weight


def feature_maps(images: int = 32, side: int = 32) -> Arguments:
    """Maps of a student and of its teacher."""
    shape = images, 256, side, side * 3 // 4
    return leaf(torch.randn(shape)), torch.randn(shape)


def instances(samples: int = 256, channels: int = 128) -> Arguments:
    """Features of instances."""
    return (leaf(torch.randn(samples, channels)), )


def people(people: int = 1024, keypoints: int = 17) -> Arguments:
    """Keypoints, their targets, weights and areas."""
    target = torch.rand(people, keypoints, 2)
    pred = leaf(target + 0.1 * torch.randn_like(target))
    return pred, target, torch.ones(people, keypoints), torch.rand(people) + 1


def people_in_boxes(count: int = 1024, keypoints: int = 17) -> Arguments:
    """Keypoints, their targets, weights and boxes."""
    *others, area = people(count, keypoints)
    return *others, torch.stack([0 * area, 0 * area, area, area], dim=-1)


def identities(samples: int = 256, channels: int = 128) -> Arguments:
    """Features of four samples of each identity."""
    labels = torch.arange(samples) // 4
    return leaf(torch.randn(samples, channels)), labels


def similarities(samples: int = 256, others: int = 1024) -> Arguments:
    """Cosines of pairs, of which one in a hundred is positive."""
    target = (torch.rand(samples, others) < 0.01).long()
    return leaf(2 * torch.rand(samples, others) - 1), target


def two_pairs(batch: int = 64) -> Arguments:
    """Two predictions and their targets."""
    pairs = [heatmap_pair(batch) for _ in range(2)]
    return [leaf(pred) for pred, _ in pairs], [target for _, target in pairs]


def unlabelled_poses(samples: int = 4096) -> Arguments:
    """Poses with and without labels, two metres away, and pixels."""
    poses, labelled = torch.randn(2, samples, len(PARENTS), 3) / 4
    root = torch.tensor([0.0, 0.0, 2.0]).expand(samples, 1, 3)
    intrinsics = torch.tensor([2.3, 2.3, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0])
    image = torch.rand(samples, len(PARENTS), 2)
    return dict(
        labeled_pose=labelled,
        unlabeled_pose=leaf(poses),
        unlabeled_traj=leaf(root)), dict(
            unlabeled_target_2d=image,
            intrinsics=intrinsics.repeat(samples, 1))


def heatmap_distributions(images: int = 64,
                          keypoints: int = 17,
                          side: int = 64) -> Arguments:
    """Heatmaps of sum 1, of random scores and of Gaussians; and weights."""
    shape = images, keypoints, side, side
    pred = torch.randn(shape).flatten(2).softmax(-1).reshape(shape)
    place = torch.arange(side)
    squares = (place - side * torch.rand(images, keypoints, 2, 1))**2
    target = -(squares[:, :, 0, :, None] + squares[:, :, 1, None]) / 8
    target = target.flatten(2).softmax(-1).reshape(shape)
    return leaf(pred), target, torch.ones(images, keypoints)


def student_and_teacher(images: int = 64,
                        keypoints: int = 17,
                        bins: int = 384) -> Arguments:
    """Scores of bins of both, beta, and weights."""
    student, teacher = [[
        torch.randn(images, keypoints, size) for size in (bins, bins * 4 // 3)
    ] for _ in range(2)]
    return (tuple(map(leaf, student)), tuple(teacher), 10.0,
            torch.ones(images, keypoints))


def bins(images: int = 64, keypoints: int = 17, bins: int = 384) -> Arguments:
    """Gaussians over two axes, y with a third more bins; and weights."""
    pred, target = [], []
    for size in (bins, bins * 4 // 3):
        centre = size * torch.rand(images, keypoints, 1)
        density = -(torch.arange(size) - centre)**2 / 72
        pred.append(leaf(torch.randn(images, keypoints, size)))
        target.append(density.exp() / math.sqrt(72 * math.pi))
    weight = (torch.rand(images, keypoints) > 0.2).float()
    return tuple(pred), tuple(target), weight


def correlations(features: int = 2048) -> Arguments:
    """The correlation of features in two views."""
    return (leaf(torch.eye(features) +
                 0.1 * torch.randn(features, features)), )


def masked_tokens(images: int = 16,
                  patches: int = 75,
                  tokens: int = 8192,
                  channels: int = 768) -> Arguments:
    """Scores and latent features of masked patches."""
    number = images * patches
    latent = torch.randn(images, patches, channels)
    return (leaf(torch.randn(number,
                             tokens)), torch.randint(tokens, (number, )),
            leaf(latent), torch.randn_like(latent))


def views_of_images(images: int = 64, views: int = 8) -> Arguments:
    """Features of the views of images, of length 1."""
    return (leaf(F.normalize(torch.randn(views * images, 128))), )
