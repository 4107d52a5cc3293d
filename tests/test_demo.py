"""The digits demo: scenes and their annotations, metrics, model."""
import numpy as np
import pytest
import torch

pytest.importorskip('sklearn', reason='the demo needs scikit-learn')

from helpers import ROOT, needs_dotted_paths
from trainings import toy_runner

from mmlosses.commands import train
from mmlosses.demo import (PCK, Accuracy, DigitNet, DigitScenes, MeanIoU,
                           SimCCHead)
from mmlosses.demo.scenes import load_split, render
from mmlosses.hooks.curves import INFO_KEY, CurvesHook

CROWD = dict(num_digits=(1, 4), digit_size=(14, 28))


@pytest.fixture(scope='module')
def crowd():
    return DigitScenes('train', 40, **CROWD)


def instances(scenes, index):
    return scenes[index]['data_samples'].gt_instances


def test_same_arguments_same_scenes(crowd):
    again = DigitScenes('train', 5, **CROWD)
    for index in range(5):
        assert torch.equal(crowd[index]['inputs'], again[index]['inputs'])
        one, other = instances(crowd, index), instances(again, index)
        for key in one.keys():
            assert torch.equal(one[key], other[key])


@pytest.mark.parametrize('change', [dict(seed=1), dict(split='val')])
def test_seed_and_split_change_scenes(crowd, change):
    other = DigitScenes(**{'split': 'train', **CROWD, **change}, num_scenes=5)
    assert not torch.equal(crowd[0]['inputs'], other[0]['inputs'])


def test_train_and_val_share_no_image():
    from sklearn.datasets import load_digits
    train, val = [load_split(split)[0] for split in ('train', 'val')]
    assert len(train) + len(val) == len(load_digits().target) == 1797
    train = {picture.tobytes() for picture in train}
    assert not [True for picture in val if picture.tobytes() in train]


def test_annotations_are_consistent(crowd):
    counts = []
    for index in range(len(crowd)):
        image = crowd[index]['inputs']
        assert image.shape == (1, 64, 64) and image.dtype == torch.uint8
        scene = instances(crowd, index)
        counts.append(len(scene))
        for mask, box, points in zip(scene.masks, scene.bboxes,
                                     scene.keypoints):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            tight = [
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1
            ]
            assert box.tolist() == tight
            x1, y1, x2, y2 = box.tolist()
            assert points[1:].tolist() == [[x1, y1], [x2, y1], [x2, y2],
                                           [x1, y2]]
            assert points[0].tolist() == [(x1 + x2) / 2, (y1 + y2) / 2]
            assert box.min() >= 0 and box.max() <= 64
            # The image is darker than half where the mask is.
            assert (image[0][mask] > 127).all()
        union = scene.masks.any(dim=0)
        assert (image[0][~union] <= 128).all()
        # Boxes do not overlap, so masks do not either.
        assert scene.masks.sum(dim=0).max() == 1
        assert scene.labels.dtype == torch.int64
        assert scene.angles.abs().max() <= np.deg2rad(45)
    assert min(counts) == 1 and max(counts) == 4


def image_of(scenes, index):
    return scenes[index]['inputs'][0].numpy().astype(int)


@pytest.mark.parametrize(
    'harder', [
        dict(occlusion=0.5),
        dict(noise=0.1),
        dict(wrong_labels=0.5),
        dict(wrong_boxes=0.5)
    ],
    ids=lambda harder: next(iter(harder)))
def test_harder_scenes_change_what_they_say(crowd, harder):
    """Images or annotations, and nothing else."""
    scenes = DigitScenes('train', 40, **CROWD, **harder)
    changed = {
        key
        for index in range(40)
        for key in instances(scenes, index).keys() if not torch.equal(
            instances(scenes, index)[key],
            instances(crowd, index)[key])
    }
    images = [image_of(x, k) for x in (scenes, crowd) for k in range(40)]
    if not np.array_equal(images[:40], images[40:]):
        changed.add('image')
    expected = dict(
        wrong_labels={'labels'}, wrong_boxes={'bboxes', 'keypoints'})
    assert changed == expected.get(next(iter(harder)), {'image'})


def test_occlusion_blanks_a_part_of_each_digit(crowd):
    scenes = DigitScenes('train', 40, **CROWD, occlusion=0.5)
    for index in range(40):
        lost = (image_of(scenes, index) == 0) & (image_of(crowd, index) > 0)
        kept = image_of(scenes, index) == image_of(crowd, index)
        assert (lost | kept).all()
        for x1, y1, x2, y2 in instances(crowd, index).bboxes.int().tolist():
            rows, columns = np.nonzero(lost[y1:y2, x1:x2])
            for side, place in ((y2 - y1, rows), (x2 - x1, columns)):
                assert 0 < np.ptp(place) + 1 <= round(side / 2)


def test_noise_has_its_deviation():
    clean, scenes = DigitScenes('train', 5), DigitScenes('train', 5, noise=0.2)
    empty = np.concatenate([
        image_of(scenes, index)[image_of(clean, index) == 0]
        for index in range(5)
    ])
    # Half of it is cut off at 0.
    above = empty[empty > 0] / 255
    assert np.sqrt((above**2).mean()) == pytest.approx(0.2, rel=0.1)
    assert len(above) / len(empty) == pytest.approx(0.5, abs=0.1)


def test_share_of_wrong_annotations():
    clean = DigitScenes('train', 1000, canvas=32, digit_size=(12, 20))
    wrong = DigitScenes(
        'train',
        1000,
        canvas=32,
        digit_size=(12, 20),
        wrong_labels=0.2,
        wrong_boxes=0.1)
    labels, boxes = [
        np.array([(instances(clean, k)[key] != instances(wrong, k)[key]).any()
                  for k in range(1000)]) for key in ('labels', 'bboxes')
    ]
    assert labels.mean() == pytest.approx(0.2, abs=0.04)
    assert boxes.mean() == pytest.approx(0.1, abs=0.03)
    assert (labels & boxes).any() and (labels & ~boxes).any()
    for k in np.nonzero(boxes)[0]:
        (x1, y1, x2, y2), = instances(wrong, k).bboxes.tolist()
        assert 0 <= x1 < x2 <= 32 and 0 <= y1 < y2 <= 32


def test_long_tail():
    scenes = DigitScenes(
        'train', 3000, canvas=32, digit_size=(12, 20), imbalance=20.0)
    counts = np.bincount(
        [instances(scenes, index).labels.item() for index in range(3000)])
    # From class to class by the same factor.
    shares = 20.0**(-np.arange(10) / 9)
    np.testing.assert_allclose(counts / 3000, shares / shares.sum(), atol=0.03)


def test_angle_is_counter_clockwise_as_seen():
    """A bar pointing right, turned by 30 degrees, points up."""
    picture = np.zeros((8, 8))
    picture[3:5, 4:] = 1
    for degrees in (0, 30, 90, -60):
        ink = render(picture, 5.0, np.deg2rad(degrees), np.array([32, 32]), 64)
        rows, columns = np.nonzero(ink > 0.5)
        got = np.arctan2(32 - (rows.mean() + 0.5), columns.mean() + 0.5 - 32)
        assert np.rad2deg(got) == pytest.approx(degrees, abs=2)


@pytest.mark.parametrize('arguments, words', [
    (dict(split='test'), "'train' or 'val'"),
    (dict(num_digits=(0, 1)), 'num_digits'),
    (dict(num_digits=(3, 2)), 'num_digits'),
    (dict(digit_size=(20, 60)), 'digit_size'),
    (dict(digit_size=(0, 20)), 'digit_size'),
    (dict(occlusion=1.1), 'occlusion must be from 0 to 1'),
    (dict(wrong_labels=-0.1), 'wrong_labels must be'),
    (dict(wrong_boxes=20), 'wrong_boxes must be'),
    (dict(noise=-1.0), 'noise must be at least 0'),
    (dict(imbalance=0.1), 'imbalance at least 1'),
])
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        DigitScenes(**{'split': 'train', 'num_scenes': 1, **arguments})


def evaluate(metric, truth, guess, boxes=None):
    for index in range(len(truth)):
        one = slice(index, index + 1)
        gt = {metric.field: torch.tensor(truth[one])}
        gt['bboxes'] = torch.tensor((truth if boxes is None else boxes)[one])
        metric.process(None, [
            dict(
                gt_instances=gt,
                pred_instances={metric.field: torch.tensor(guess[one])})
        ])
    return metric.evaluate(len(truth))


def test_pck_by_hand():
    boxes = np.array([[0., 0., 10., 20.], [0., 0., 40., 20.]])
    truth = np.array([[[5., 5.], [0., 0.]], [[50., 50.], [9., 9.]]])
    # Allowed: 0.1 of 20 and of 40. Errors: 1, 3 (too far), 4 and 0.
    guess = truth + np.array([[[1., 0.], [0., 3.]], [[0., 4.], [0., 0.]]])
    got = evaluate(PCK(thr=0.1), truth, guess, boxes)
    assert got['PCK'] == pytest.approx(3 / 4)
    # The mean is near none of the keypoints.
    assert got['PCK_chance'] == 0


def test_mean_iou_by_hand():
    truth = np.array([[0., 0., 2., 2.], [4., 4., 6., 6.]])
    guess = np.array([[1., 0., 3., 2.], [4., 4., 6., 6.]])
    got = evaluate(MeanIoU(), truth, guess)
    assert got['mIoU'] == pytest.approx((1 / 3 + 1) / 2)
    # The mean box (2, 2, 4, 4) touches neither.
    assert got['mIoU_chance'] == 0


def test_accuracy_by_hand():
    truth, guess = np.array([3, 3, 3, 7]), np.array([3, 7, 3, 7])
    got = evaluate(Accuracy(), truth, guess, np.zeros((4, 4)))
    assert got == dict(accuracy=0.75, accuracy_chance=0.75)


@needs_dotted_paths
@pytest.mark.slow
def test_shows_the_loss_soon(tmp_path, capsys):
    """The dumps of environment, config and hooks are in the log file."""
    train.main([
        str(ROOT / 'configs/digits/simcc_kl.py'), '--work-dir',
        str(tmp_path), '--cfg-options',
        'train_dataloader.dataset.num_scenes=99',
        'val_dataloader.dataset.num_scenes=9', 'train_cfg.max_epochs=3'
    ])
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if 'loss_kpt: ' in line)
    assert first < 10
    log, = tmp_path.rglob('*.log')
    assert f'Environment, config and hooks: {log}' in lines[0]
    text = log.read_text()
    for part in ('System environment:', 'Config:\n', 'Hooks will be executed'):
        assert part in text


@pytest.mark.parametrize('count', [3, 50])
def test_curves_are_readable(tmp_path, count):
    """Whole iterations on the axis, and no legend over a line."""
    runner = toy_runner(tmp_path / str(count))
    for step in range(count):
        runner.message_hub.update_scalar('train/loss_box', 1 / (step + 1))
        runner.message_hub.update_scalar('val/mIoU', step / count)
        runner.message_hub.update_info(INFO_KEY, list(range(1, step + 2)))
    figure = CurvesHook().draw(runner)
    figure.canvas.draw()
    for axes in figure.axes:
        ticks = axes.xaxis.get_majorticklocs()
        assert len(ticks) > 1 and all(tick == int(tick) for tick in ticks)
        legend = axes.get_legend().get_window_extent()
        assert not legend.overlaps(axes.bbox)
        assert legend.x1 <= figure.bbox.x1


LOSS = dict(type='mmlosses.KLDiscretLoss')


def test_simcc_target_peaks_at_keypoint():
    head = SimCCHead(LOSS, in_channels=4)
    keypoints = torch.tensor([[[10.0, 20.5], [63.0, 0.0]]])
    for target, truth in zip(head.encode(keypoints), keypoints.unbind(-1)):
        assert target.shape == (1, 2, 128)
        assert torch.equal(target.argmax(-1) / head.split_ratio, truth)
    # A normalised density, unless it is cut off.
    assert target[0, 0].sum().item() == pytest.approx(1, abs=1e-3)


@needs_dotted_paths
def test_head_refuses_multi_digit_scenes():
    scenes = DigitScenes('train', 1, num_digits=(4, 4), digit_size=(14, 16))
    net = DigitNet(dict(type='mmlosses.demo.SimCCHead', loss=LOSS))
    with pytest.raises(ValueError, match='one digit, got one with 4'):
        net(torch.zeros(1, 1, 64, 64), [scenes[0]['data_samples']], 'loss')
