"""tools/class_weights.py: class weights from an annotation file."""
import contextlib
import io
import json
import subprocess
import sys

import pytest
from helpers import ROOT

from mmlosses.commands import class_weights

TOOL = ROOT / 'tools/class_weights.py'
# In another order than their ids and than the alphabet.
CATEGORIES = [('zebra', 7), ('apple', 3), ('fork', 12), ('ghost', 1)]
# Image, category, and what is special.
ANNOTATIONS = [
    (1, 7, {}),
    (1, 7, {}),
    (1, 3, {}),
    (2, 7, {}),
    (2, 7, dict(iscrowd=1)),
    (2, 12, dict(ignore=1)),
    (2, 12, dict(bbox=[90, 90, 30, 30])),
    (2, 12, dict(bbox=[120, 0, 5, 5])),
    (2, 3, dict(bbox=[0, 0, 0.5, 8])),
    (2, 3, dict(area=0)),
    (3, 7, {}),
    (99, 3, {}),  # of a picture that is not there
    (3, 55, {}),  # of a class that is not there
]
INSTANCES = dict(zebra=4, apple=1, fork=1, ghost=0)
IMAGES = dict(zebra=3, apple=1, fork=1, ghost=0)


@pytest.fixture
def ann(tmp_path):
    """An annotation file."""
    path = tmp_path / 'ann.json'
    path.write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.jpg', width=100, height=100)
                    for i in (1, 2, 3)
                ],
                categories=[
                    dict(id=number, name=name) for name, number in CATEGORIES
                ],
                annotations=[
                    dict(
                        dict(
                            id=index,
                            image_id=image,
                            category_id=category,
                            bbox=[10, 10, 20, 20],
                            area=400,
                            iscrowd=0), **special)
                    for index, (image, category,
                                special) in enumerate(ANNOTATIONS)
                ])))
    return path


def run(*args):
    """What the tool prints, and the line that it prints, read as Python."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        class_weights.main([str(arg) for arg in args])
    text = out.getvalue()
    return eval(f'dict({text})')['class_weight'], text, err.getvalue()


def normalised(raw):
    """With a mean of 1 over those that are there."""
    there = [x for x in raw if x]
    return [x * len(there) / sum(there) if x else 1.0 for x in raw]


@pytest.mark.parametrize('count, counts', [('instances', INSTANCES),
                                           ('images', IMAGES)])
def test_inverse_frequency(ann, count, counts):
    got, text, _ = run(ann, '--method', 'inverse', '--count', count)
    expected = normalised([1 / n if n else 0 for n in counts.values()])
    assert got == pytest.approx(expected, rel=1e-3)
    assert sum(got[:3]) == pytest.approx(3, rel=1e-3)
    assert f'{count}: {sum(counts.values())}, classes: 4' in text


@pytest.mark.parametrize('beta', [None, 0.0, 0.5, 0.999999])
def test_effective_number(ann, beta):
    """The sum of a geometric series, written out."""
    got, _, _ = run(ann, *([] if beta is None else ['--beta', beta]))
    beta = 0.9999 if beta is None else beta
    raw = []
    for number in INSTANCES.values():
        effective = sum(beta**k for k in range(number))
        raw.append(1 / effective if number else 0)
    assert got == pytest.approx(normalised(raw), rel=1e-3)


def test_large_numbers_of_the_effective_number():
    """It saturates at 1 / (1 - beta)."""
    assert class_weights.effective_number(10**9, 0.99) == pytest.approx(100)
    assert class_weights.effective_number(10, 1 - 1e-12) == pytest.approx(10)


def test_a_class_without_instances_is_named_and_finite(ann):
    got, text, _ = run(ann)
    assert got[3] == 1.0 and '# without instances, hence 1: ghost' in text
    assert '# without' not in run(ann, '--classes', 'zebra,apple')[1]


def test_background_is_the_last_and_not_in_the_mean(ann):
    one, other = run(ann)[0], run(ann, '--background', 0.1)[0]
    assert other == one + [0.1]


def test_classes_are_in_the_order_of_the_file(ann):
    """As mmdet numbers them; another order is a warning."""
    got, _, err = run(ann, '--classes', 'zebra,fork', '--method', 'inverse')
    assert got == [0.4, 1.6] and not err
    same, _, err = run(ann, '--classes', 'fork, zebra', '--method', 'inverse')
    assert same == got and 'in the order of the file' in err


def test_json_is_a_base_of_a_config(ann, tmp_path):
    from mmengine.config import Config
    got, _, _ = run(ann, '--json', tmp_path / 'weights.json')
    path = tmp_path / 'config.py'
    path.write_text('''
_base_ = 'weights.json'
model = dict(loss_cls=dict(class_weight={{_base_.class_weight}}))
''')
    assert Config.fromfile(str(path)).model.loss_cls.class_weight == got


def spoil(**changes):

    def change(data):
        data.update(changes)
        return data

    return change


BAD = {
    'is a results file': (lambda data: data['annotations'],
                          'holds a list, where an annotation file'),
    'has no categories':
    (lambda data: dict(data, categories=None), 'has no list of categories'),
    'has no names':
    (spoil(categories=[dict(id=1)]), 'has categories without name'),
    'has a name twice':
    (spoil(categories=[dict(id=1, name='a'),
                       dict(id=2, name='a')]),
     'has several categories of the name a'),
    'has an id twice':
    (spoil(categories=[dict(id=1, name='a'),
                       dict(id=1, name='b')]),
     'has several categories of the id 1'),
    'has no image ids': (spoil(annotations=[dict(category_id=1)]),
                         'has annotations without image_id'),
    'is empty': (spoil(annotations=[]),
                 'has no instance of any of the classes'),
}


@pytest.mark.parametrize('change, text', BAD.values(), ids=BAD)
def test_bad_files_are_one_line(ann, change, text):
    ann.write_text(json.dumps(change(json.loads(ann.read_text()))))
    with pytest.raises(SystemExit, match=text):
        run(ann)


@pytest.mark.parametrize('args, text', [
    (['--classes', 'zebr'], 'no category zebr; did you mean zebra?'),
    (['--beta', '1'], '--beta must be from 0 to below 1, got 1.0'),
    (['--background', '-1'], '--background must be a number from 0'),
    (['--classes', 'zebra', '--config', 'x.py'], 'not allowed with'),
    (['--config', 'nowhere.py'], 'nowhere.py'),
])
@pytest.mark.slow
def test_mistakes_are_one_line(ann, args, text):
    done = subprocess.run(
        [sys.executable, str(TOOL), str(ann), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True)
    assert done.returncode != 0 and text in done.stderr
    assert 'Traceback' not in done.stderr and done.stdout == ''


@pytest.mark.slow
def test_damaged_file_is_one_line(tmp_path):
    path = tmp_path / 'ann.json'
    path.write_text('{"images": [')
    done = subprocess.run(
        [sys.executable, str(TOOL), str(path)],
        stderr=subprocess.PIPE,
        universal_newlines=True)
    assert done.returncode == 1
    line, = done.stderr.splitlines()
    assert line.startswith(f'error: {path}: ')


CONFIG = """
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
classes = {classes}
train_dataloader = dict(dataset=dict(
    ann_file={ann!r}, data_root='', metainfo=dict(classes=classes)))
model = dict(
    backbone=dict(depth=18, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512]),
    roi_head=dict(bbox_head=dict(num_classes=len(classes), loss_cls=dict(
        type='mmlosses.CrossEntropyLoss',
{line}    ))))
"""


@pytest.fixture
def needs_mmdet():
    """Skip where there is no real mmdet."""
    pytest.importorskip('pycocotools')
    try:
        import mmdet.models  # noqa: F401
    except (ImportError, AssertionError) as error:
        pytest.skip(f'needs mmcv and mmdet: {error}')


@pytest.mark.openmmlab
@pytest.mark.slow
@pytest.mark.parametrize('classes', [('zebra', 'apple', 'fork', 'ghost'),
                                     ('fork', 'zebra')])
def test_pasted_into_a_detector_of_mmdet(needs_mmdet, ann, tmp_path, classes):
    """Its own dataset counts the same, in the same order; the model trains."""
    from mmdet.registry import DATASETS, MODELS
    from mmdet.testing import demo_mm_inputs
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    register_all_modules()
    path = tmp_path / 'config.py'

    def write(line):
        text = CONFIG.format(classes=classes, ann=str(ann), line=line)
        path.write_text(text)
        return Config.fromfile(str(path))

    cfg = write('')
    dataset = DATASETS.build(
        dict(cfg.train_dataloader.dataset, pipeline=[], filter_cfg=None))
    counts = [0] * len(classes)
    for index in range(len(dataset)):
        for instance in dataset.get_data_info(index)['instances']:
            if not instance['ignore_flag']:
                counts[instance['bbox_label']] += 1
    weights, line, err = run(ann, '--config', path, '--method', 'inverse',
                             '--background', 0.5)
    expected = normalised([1 / n if n else 0 for n in counts])
    assert weights == pytest.approx(expected + [0.5], rel=1e-3)
    assert ('another order' in err) == (classes == ('fork', 'zebra'))
    model = MODELS.build(write(line).model)
    assert model.roi_head.bbox_head.loss_cls.class_weight == weights
    inputs = demo_mm_inputs(1, [[3, 64, 64]], num_classes=len(classes))
    losses = model(**model.data_preprocessor(inputs, True), mode='loss')
    assert losses['loss_cls'].isfinite()
    # Without the background the message says what is missing.
    _, line, _ = run(ann, '--config', path)
    model = MODELS.build(write(line).model)
    with pytest.raises(ValueError, match='one more for the background'):
        model(**model.data_preprocessor(inputs, True), mode='loss')


@pytest.mark.openmmlab
@pytest.mark.slow
def test_classes_of_a_dataset_by_its_name(needs_mmdet, ann, tmp_path):
    """Those of its METAINFO, where the config names none; also wrapped."""
    path = tmp_path / 'config.py'
    path.write_text("""
default_scope = 'mmdet'
train_dataloader = dict(dataset=dict(
    type='RepeatDataset', times=2, dataset=dict(type='CityscapesDataset')))
""")
    assert class_weights.classes_of(str(path))[:2] == ['person', 'rider']
    with pytest.raises(SystemExit, match='no category person'):
        run(ann, '--config', path)
    path.write_text("default_scope = 'mmdet'")
    with pytest.raises(SystemExit, match='no dataset to train with'):
        run(ann, '--config', path)
