"""Helpers of the tests of losses over features."""
import math

import torch

CLASSES, CHANNELS = 10, 6

SIZES = dict(num_classes=CLASSES, in_channels=CHANNELS)


def build(loss, **kwargs):
    torch.manual_seed(0)
    return loss(**{**SIZES, **kwargs}).double()


def length(vector):
    return math.sqrt(sum(x * x for x in vector))


def dot(one, other):
    return sum(x * y for x, y in zip(one, other))


def cross_entropy(logits, label):
    return math.log(sum(math.exp(z) for z in logits)) - logits[label]


def rows(loss, features, labels, logit):
    """Mean cross entropy of logits computed one by one."""
    vectors, total = loss.weight.tolist(), 0.0
    for x, label in zip(features.tolist(), labels.tolist()):
        logits = [logit(x, w, j == label) for j, w in enumerate(vectors)]
        total += cross_entropy(logits, label)
    return total / len(features)
