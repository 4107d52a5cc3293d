"""Scalar reference implementations of the box losses, from the papers.

``p`` is the prediction and ``t`` the target, as (x1, y1, x2, y2). Terms that
a paper detaches are computed from ``p0``, so that the difference quotient
over ``p`` alone is the gradient.
"""
import math


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(p, t):
    width = min(p[2], t[2]) - max(p[0], t[0])
    height = min(p[3], t[3]) - max(p[1], t[1])
    common = max(width, 0) * max(height, 0)
    return common / (area(p) + area(t) - common)


def enclosing_box(p, t):
    return (min(p[0], t[0]), min(p[1], t[1]), max(p[2], t[2]), max(p[3], t[3]))


def sides(box):
    return box[2] - box[0], box[3] - box[1]


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def diagonal(box):
    return math.hypot(*sides(box))


def distance(p, t):
    return math.dist(centre(p), centre(t))


def giou_terms(p, t, p0):
    common = iou(p, t) / (1 + iou(p, t)) * (area(p) + area(t))
    union = area(p) + area(t) - common
    empty = area(enclosing_box(p, t)) - union
    return [empty / area(enclosing_box(p, t))]


def diou_terms(p, t, p0):
    return [(distance(p, t) / diagonal(enclosing_box(p, t)))**2]


def aspect(p, t):
    angles = [math.atan2(*sides(box)) for box in (p, t)]
    return 4 / math.pi**2 * (angles[0] - angles[1])**2


def ciou_terms(p, t, p0):
    v, overlap = aspect(p0, t), iou(p0, t)
    alpha = v / (1 - overlap + v) if overlap > 0.5 else 0
    return [*diou_terms(p, t, p0), alpha * aspect(p, t)]


def eiou_terms(p, t, p0):
    terms = diou_terms(p, t, p0)
    for side, target, outer in zip(
            sides(p), sides(t), sides(enclosing_box(p, t))):
        terms.append(((side - target) / outer)**2)
    return terms


def siou_terms(p, t, p0, theta=4.0):
    (x, y), (tx, ty) = centre(p), centre(t)
    sigma = math.hypot(x - tx, y - ty)
    sine = abs(y - ty) / sigma if sigma else 0
    # Equation 1 of the paper.
    angle = 1 - 2 * math.sin(math.asin(min(sine, 1)) - math.pi / 4)**2
    width, height = sides(enclosing_box(p, t))
    cost = 0
    for rho in (((x - tx) / width)**2, ((y - ty) / height)**2):
        cost += 1 - math.exp(-(2 - angle) * rho)
    return [cost / 2, shape_cost(p, t, theta, (1, 1)) / 2]


def shape_cost(p, t, theta, factors):
    cost = 0
    for side, target, factor in zip(sides(p), sides(t), factors):
        omega = factor * abs(side - target) / max(side, target)
        cost += (1 - math.exp(-omega))**theta
    return cost


def mpdiou_terms(p, t, p0, img_shape=None):
    length = diagonal(enclosing_box(p, t))
    if img_shape is not None:
        length = math.hypot(*img_shape)
    return [(math.dist(p[:2], t[:2]) / length)**2,
            (math.dist(p[2:], t[2:]) / length)**2]


def shapeiou_terms(p, t, p0, scale=0.0):
    width, height = [side**scale for side in sides(t)]
    ww = 2 * width / (width + height)
    hh = 2 * height / (width + height)
    (x, y), (tx, ty) = centre(p), centre(t)
    cost = hh * (x - tx)**2 + ww * (y - ty)**2
    return [
        cost / diagonal(enclosing_box(p, t))**2,
        shape_cost(p, t, 4, (hh, ww)) / 2
    ]


TERMS = dict(
    iou=lambda p, t, p0: [],
    giou=giou_terms,
    diou=diou_terms,
    ciou=ciou_terms,
    eiou=eiou_terms,
    siou=siou_terms,
    mpdiou=mpdiou_terms,
    shapeiou=shapeiou_terms)


def iou_loss(p, t, p0, mode='log'):
    overlap = iou(p, t)
    if mode == 'log':
        return -math.log(max(overlap, 1e-6))
    return 1 - overlap**{'linear': 1, 'square': 2}[mode]


def penalised(terms):
    return lambda p, t, p0, **kwargs: (1 - iou(p, t) + sum(
        terms(p, t, p0, **kwargs)))


def eiou_loss(p, t, p0, focal_gamma=None):
    loss = 1 - iou(p, t) + sum(eiou_terms(p, t, p0))
    return loss if focal_gamma is None else iou(p0, t)**focal_gamma * loss


def alpha_iou_loss(p, t, p0, alpha=3.0, mode='iou'):
    terms = TERMS[mode](p, t, p0)
    return 1 - iou(p, t)**alpha + sum([term**alpha for term in terms])


def scale_about(box, ratio):
    (x, y), (width, height) = centre(box), sides(box)
    return (x - width * ratio / 2, y - height * ratio / 2,
            x + width * ratio / 2, y + height * ratio / 2)


def inner_iou_loss(p, t, p0, ratio=0.7, mode='iou'):
    inner = iou(scale_about(p, ratio), scale_about(t, ratio))
    loss = 1 - iou(p, t) + sum(TERMS[mode](p, t, p0))
    return loss + iou(p, t) - inner


def nwd_loss(p, t, p0, constant=12.8):
    means = [(*centre(box), *[side / 2 for side in sides(box)])
             for box in (p, t)]
    return 1 - math.exp(-math.dist(*means) / constant)


def wiou_loss(p, t, p0, version=3, gamma=0.5, alpha=1.9, delta=3.0, mean=1.0):
    loss = 1 - iou(p, t)
    loss *= math.exp((distance(p, t) / diagonal(enclosing_box(p0, t)))**2)
    beta = (1 - iou(p0, t)) / mean
    if version == 2:
        loss *= beta**gamma
    if version == 3:
        loss *= beta / (delta * alpha**(beta - delta))
    return loss


def extended_iou_loss(p, t, p0, smooth_point=0.1):
    """Per axis, the overlap from its low to its high end, of which one is
    counted the other way round where there is none."""
    left, top = min(p[0], t[0]), min(p[1], t[1])
    x1, x2 = max(p[0], t[0]) - left, min(p[2], t[2]) - left
    y1, y2 = max(p[1], t[1]) - top, min(p[3], t[3]) - top
    if x1 <= x2 and y1 <= y2:
        common = (x2 - x1) * (y2 - y1)
    elif y1 <= y2:  # apart in x
        common = -(x1 - x2) * (y1 + y2)
    elif x1 <= x2:  # apart in y
        common = -(x1 + x2) * (y1 - y2)
    else:
        common = -2 * (x1 * y1 - x2 * y2)
    error = 1 - common / (area(p) + area(t) - common)
    if error < smooth_point:
        return error**2 / (2 * smooth_point)
    return error - smooth_point / 2


def interval_iou(one, other):
    """The IoU of two intervals (low, high)."""
    common = max(min(one[1], other[1]) - max(one[0], other[0]), 0)
    return common / (one[1] - one[0] + other[1] - other[0] - common)


def bounded_iou_loss(p, t, beta=0.2):
    """Smooth L1 of 1 - IoU for intervals, in the order x, y, w, h."""
    shifted, resized = [], []
    for axis in (0, 1):
        low, high = t[axis], t[axis + 2]
        shift = 2 * (centre(p)[axis] - centre(t)[axis])
        shifted.append(interval_iou((low, high), (low + shift, high + shift)))
        side, target = sides(p)[axis], sides(t)[axis]
        resized.append(interval_iou((-side, side), (-target, target)))
    errors = [1 - bound for bound in shifted + resized]
    return [
        error**2 / (2 * beta) if error < beta else error - beta / 2
        for error in errors
    ]


ORACLES = dict(
    ExtendedIoULoss=extended_iou_loss,
    IoULoss=iou_loss,
    GIoULoss=penalised(giou_terms),
    DIoULoss=penalised(diou_terms),
    CIoULoss=penalised(ciou_terms),
    EIoULoss=eiou_loss,
    SIoULoss=penalised(siou_terms),
    AlphaIoULoss=alpha_iou_loss,
    MPDIoULoss=penalised(mpdiou_terms),
    InnerIoULoss=inner_iou_loss,
    ShapeIoULoss=penalised(shapeiou_terms),
    NWDLoss=nwd_loss,
    WIoULoss=wiou_loss)
