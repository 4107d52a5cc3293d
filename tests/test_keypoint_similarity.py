"""OKSLoss against pycocotools and plain loops, and at its edges."""
import math

import pytest
import torch
from cases.keypoint_similarity import METAINFO

from mmlosses.losses import OksLoss, OKSLoss
from mmlosses.losses.keypoint_similarity import COCO_SIGMAS

COCO = 'configs/_base_/datasets/coco.py'


def people(number=5, dtype=torch.float64):
    """Predictions, truths, visibilities and areas, in pixels."""
    generator = torch.Generator().manual_seed(0)
    target = 100 * torch.rand(number, 17, 2, generator=generator, dtype=dtype)
    noise = torch.randn(number, 17, 2, generator=generator, dtype=dtype)
    visible = torch.rand(number, 17, generator=generator, dtype=dtype).round()
    visible[:, 0] = 1
    areas = 1000 + 3000 * torch.rand(number, generator=generator, dtype=dtype)
    return target + 8 * noise, target, visible, areas


def similarity(pred, target, visible, area, sigmas):
    """COCO's definition, of one person, over the visible keypoints."""
    total = 0
    for (x, y), (u, v), weight, sigma in zip(pred.tolist(), target.tolist(),
                                             visible.tolist(), sigmas):
        square = (x - u)**2 + (y - v)**2
        total += weight * math.exp(-square / (2 * area * (2 * sigma)**2))
    return total


@pytest.mark.parametrize('mode', ['linear', 'square', 'log'])
@pytest.mark.parametrize('norm', [False, True])
def test_matches_loops(mode, norm):
    pred, target, visible, areas = people()
    loss = OKSLoss(
        sigmas=COCO_SIGMAS,
        norm_target_weight=norm,
        mode=mode,
        reduction='none').double()
    got = loss(pred, target, visible, areas)
    for n in range(5):
        oks = similarity(pred[n], target[n], visible[n], areas[n].item(),
                         loss.sigmas.tolist())
        oks /= visible[n].sum().item() if norm else 17
        expected = dict(
            linear=1 - oks, square=1 - oks**2, log=-math.log(oks))[mode]
        assert got[n].item() == pytest.approx(expected)


def test_matches_pycocotools():
    """Of one detection and one annotation, with its area."""
    coco = pytest.importorskip('pycocotools.coco').COCO
    evaluation = pytest.importorskip('pycocotools.cocoeval').COCOeval
    pred, target, visible, areas = people()
    got = OKSLoss(
        sigmas=COCO_SIGMAS, norm_target_weight=True,
        reduction='none').double()(pred, target, visible, areas)
    for n in range(5):

        def points(position, flags):
            rows = torch.cat([position[n], flags[n, :, None]], dim=-1)
            return rows.flatten().tolist()

        dataset = coco()
        dataset.dataset = dict(
            images=[dict(id=1)],
            categories=[dict(id=1)],
            annotations=[
                dict(
                    id=1,
                    image_id=1,
                    category_id=1,
                    iscrowd=0,
                    bbox=[0, 0, 100, 100],
                    area=areas[n].item(),
                    num_keypoints=int(visible[n].sum()),
                    keypoints=points(target, 2 * visible))
            ])
        dataset.createIndex()
        found = coco()
        found.dataset = dict(
            dataset.dataset,
            annotations=[
                dict(
                    id=1,
                    image_id=1,
                    category_id=1,
                    score=1.0,
                    area=1.0,
                    bbox=[0, 0, 100, 100],
                    keypoints=points(pred, torch.ones_like(visible)))
            ])
        found.createIndex()
        run = evaluation(dataset, found, 'keypoints')
        run._prepare()
        oks = run.computeOks(1, 1)
        assert got[n].item() == pytest.approx(1 - oks.item(), rel=1e-5)


@pytest.mark.openmmlab
@pytest.mark.parametrize('mode', ['linear', 'square', 'log'])
@pytest.mark.parametrize('norm', [False, True])
@pytest.mark.parametrize('metainfo', [COCO, None])
def test_matches_mmpose(mode, norm, metainfo):
    stock = pytest.importorskip('mmpose.models.losses')
    kwargs = dict(
        metainfo=metainfo,
        norm_target_weight=norm,
        mode=mode,
        reduction='none',
        loss_weight=30.0)
    pred, target, visible, areas = people(dtype=torch.float32)
    pred.requires_grad_()
    results = []
    for kind in (OKSLoss, stock.OKSLoss):
        loss = kind(**kwargs)
        value = loss(pred, target, visible, areas)
        results.append((value, *torch.autograd.grad(value.sum(), pred)))
        sigmas = loss.state_dict()
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    OKSLoss(**kwargs).load_state_dict(sigmas)


@pytest.mark.openmmlab
def test_sigmas_of_mmpose():
    pytest.importorskip('mmpose')
    torch.testing.assert_close(OKSLoss(COCO).sigmas, torch.tensor(COCO_SIGMAS))


def test_sigmas_of_a_file(tmp_path):
    assert OKSLoss(METAINFO).sigmas.tolist() == pytest.approx(
        [0.2, 0.3, 0.4, 0.5])
    with pytest.raises(ValueError, match='sigmas .* both'):
        OKSLoss(METAINFO, sigmas=[0.1])
    with pytest.raises(FileNotFoundError, match='nothing.py'):
        OKSLoss(str(tmp_path / 'nothing.py'))


def test_without_a_weight_all_keypoints_are_visible():
    """mmpose's loss is -16 at a perfect prediction."""
    pred, target, visible, areas = people()
    for norm in (False, True):
        loss = OKSLoss(norm_target_weight=norm).double()
        torch.testing.assert_close(
            loss(pred, target, areas=areas),
            loss(pred, target, torch.ones_like(visible), areas))
        assert abs(loss(target, target)) < 1e-12


def test_weights_of_objects_multiply_the_loss():
    pred, target, visible, areas = people()
    loss = OKSLoss(norm_target_weight=True, reduction='none').double()
    factor = areas / 1000
    expected = factor * loss(pred, target, None, areas)
    for weight in (factor, factor[:, None]):
        torch.testing.assert_close(loss(pred, target, weight, areas), expected)
    # Those of keypoints are shares.
    torch.testing.assert_close(
        loss(pred, target, 3 * visible, areas),
        loss(pred, target, visible[..., None], areas))


@pytest.mark.parametrize('mode', ['linear', 'square', 'log'])
@pytest.mark.parametrize('norm', [False, True])
def test_nan_of_an_invisible_keypoint(mode, norm):
    pred, target, visible, areas = people()
    loss = OKSLoss(mode=mode, norm_target_weight=norm).double()
    expected = loss(pred, target, visible, areas)
    hidden = (visible == 0)[..., None]
    pred = pred.masked_fill(hidden, math.nan).requires_grad_()
    got = loss(pred, target.masked_fill(hidden, math.nan), visible, areas)
    torch.testing.assert_close(got, expected)
    got.backward()
    assert (pred.grad.masked_select(hidden) == 0).all()
    assert pred.grad.isfinite().all() and torch.count_nonzero(pred.grad)


@pytest.mark.parametrize('mode', ['linear', 'square', 'log'])
@pytest.mark.parametrize('norm', [False, True])
def test_object_without_keypoints_has_no_loss(mode, norm):
    """In mmpose it is 1, or infinite."""
    pred, target, visible, areas = people()
    visible[1] = 0
    pred.requires_grad_()
    loss = OKSLoss(
        mode=mode, norm_target_weight=norm, reduction='none').double()
    got = loss(pred, target, visible, areas)
    got.sum().backward()
    assert got[1] == 0 and (pred.grad[1] == 0).all()
    assert got.isfinite().all() and pred.grad.isfinite().all()


@pytest.mark.parametrize('area', [0.0, 1e-20, -1.0])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('mode', ['linear', 'square', 'log'])
def test_objects_without_area(area, dtype, mode):
    """In half precision, mmpose divides 0 by 0."""
    pred, target, visible, areas = [x.to(dtype) for x in people()]
    pred[:, 0] = target[:, 0]
    pred.requires_grad_()
    got = OKSLoss(mode=mode)(pred, target, visible, 0 * areas + area)
    got.backward()
    assert got.isfinite() and got.dtype == torch.float32
    if mode != 'log':  # whose gradient is beyond the range of float16
        assert pred.grad.isfinite().all()


def test_far_keypoints_have_a_gradient_in_log_mode():
    """mmpose's similarity is 0, and the gradient of its logarithm NaN."""
    pred = torch.full((1, 17, 2), 1000.0, requires_grad=True)
    areas = torch.full((1, ), 100.0)
    got = OKSLoss(mode='log')(pred, torch.zeros(1, 17, 2), None, areas)
    got.backward()
    assert got.item() == pytest.approx(2 * 1000**2 / 2 / 100)
    torch.testing.assert_close(
        pred.grad.sum(dim=1), torch.full((1, 2), 10.0), rtol=1e-3, atol=0)


def test_wrong_shapes():
    pred, target, visible, areas = people()
    with pytest.raises(ValueError, match=r'areas .*\(5,\), got \(4,\)'):
        OKSLoss()(pred, target, visible, areas[:4])
    with pytest.raises(ValueError, match=r'\(N, 4, D\), got \(5, 17, 2\)'):
        OKSLoss(METAINFO)(pred, target, visible, areas)
    with pytest.raises(ValueError, match='negative'):
        OKSLoss()(pred, target, -visible, areas)


def boxes_of(number=5):
    generator = torch.Generator().manual_seed(1)
    size = 30 + 60 * torch.rand(number, 2, generator=generator).double()
    return torch.cat([torch.full_like(size, 7), 7 + size], dim=1)


@pytest.mark.parametrize('sigmas', [None, COCO_SIGMAS])
@pytest.mark.parametrize('boxes', [None, boxes_of()])
def test_similarity_by_boxes_matches_loops(sigmas, boxes):
    """mmyolo's: distances by the diagonal and by sigma, half their square."""
    pred, target, visible, _ = people()
    pred = target + (pred - target) / (1 if boxes is not None else 50)
    loss = OksLoss(sigmas=sigmas, reduction='none', loss_weight=30.0).double()
    got = loss(pred, target, visible, boxes)
    for n in range(5):
        diagonal = 1
        if boxes is not None:
            x1, y1, x2, y2 = boxes[n].tolist()
            diagonal = math.hypot(x2 - x1, y2 - y1)
        total = 0
        for k in range(17):
            distance = math.dist(pred[n, k].tolist(), target[n, k].tolist())
            sigma = 1 if sigmas is None else sigmas[k]
            error = distance / diagonal / sigma
            total += visible[n, k].item() * math.exp(-error**2 / 2)
        expected = 30 * (1 - total / visible[n].sum().item())
        assert got[n].item() == pytest.approx(expected, rel=1e-5)
    # mmengine takes the mean of what mmyolo's returns.
    mean = loss(pred, target, visible, boxes, reduction_override='mean')
    torch.testing.assert_close(mean, got.mean())


def test_call_of_a_head_of_mmyolo():
    """By position, or by mmyolo's names; half precision changes no value."""
    pred, target, visible, _ = people()
    loss = OksLoss(sigmas=COCO_SIGMAS)
    named = dict(
        output=pred, target=target, target_weights=visible, bboxes=boxes_of())
    got = loss(*named.values())
    torch.testing.assert_close(loss(**named), got)
    half = [x.half() for x in named.values()]
    torch.testing.assert_close(
        loss(*half), loss(*[x.float() for x in half]), rtol=0, atol=0)


def test_similarity_of_pairs_for_an_assigner():
    """As PoseSimOTAAssigner: each prediction with each object."""
    pred, target, visible, _ = people()
    boxes = boxes_of()
    visible[3] = 0
    loss = OksLoss(sigmas=COCO_SIGMAS).double()
    got = loss.compute_oks(
        pred.unsqueeze(1), target[:4].unsqueeze(0), visible[:4].unsqueeze(0),
        boxes[:4].unsqueeze(0))
    assert got.shape == (5, 4) and not got[:, 3].any()
    for n in range(3):
        expected = 1 - loss(
            pred,
            target[n].expand(5, 17, 2),
            visible[n].expand(5, 17),
            boxes[n].expand(5, 4),
            reduction_override='none')
        torch.testing.assert_close(got[:, n], expected)


def test_object_without_visible_keypoints_by_boxes():
    """mmyolo's has the loss 1, which no training lowers."""
    pred, target, visible, _ = people()
    visible[0], pred[0] = 0, math.nan
    pred.requires_grad_()
    got = OksLoss(
        sigmas=COCO_SIGMAS, reduction='none')(pred, target, visible,
                                              boxes_of())
    gradient, = torch.autograd.grad(got.sum(), pred)
    assert got[0] == 0 and gradient.isfinite().all()
    assert not gradient[0].any() and gradient[1:].any()
