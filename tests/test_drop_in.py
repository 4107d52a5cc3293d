"""Losses pass the ``isinstance`` tests of stock heads, and stay themselves."""
import copy
import pickle
import subprocess
import sys

import pytest
import torch
from helpers import needs_dynamo
from mmengine.model import BaseModule

from mmlosses.core import stock as drop_in
from mmlosses.losses import FocalLoss, SmoothL1Loss
from mmlosses.registry import MODELS

NAMESAKES = [
    'CIoULoss', 'CrossEntropyLoss', 'DIoULoss', 'DiceLoss', 'FocalLoss',
    'GIoULoss', 'GaussianFocalLoss', 'IoULoss', 'L1Loss', 'MSELoss',
    'SmoothL1Loss'
]


@pytest.mark.parametrize('name', NAMESAKES)
def test_isinstance(stock, name):
    loss = MODELS.build(dict(type=f'mmlosses.{name}'))
    assert isinstance(loss, getattr(stock, name))
    assert isinstance(loss, torch.nn.Module)
    others = set(NAMESAKES) - {base.__name__ for base in type(loss).__mro__}
    for other in others:
        assert not isinstance(loss, getattr(stock, other)), other


def test_of_another_name(stock):
    """mmdet's EIoULoss is Extended IoU."""
    loss = MODELS.build(dict(type='mmlosses.ExtendedIoULoss'))
    assert isinstance(loss, stock.EIoULoss)


def test_of_two_projects(stock):
    pose = pytest.importorskip('mmpose.models.losses')
    loss = SmoothL1Loss()
    assert isinstance(loss, stock.SmoothL1Loss)
    assert isinstance(loss, pose.SmoothL1Loss)
    assert type(loss) is SmoothL1Loss


def test_of_a_class_of_the_user(stock):

    class MyFocal(FocalLoss):
        """A subclass with another name."""

    assert isinstance(MyFocal(), stock.FocalLoss)


def test_base_beside_its_subclass(monkeypatch):
    """Projects derive their losses from those of others."""
    base = type('SmoothL1Loss', (torch.nn.Module, ), {})
    derived = type('SmoothL1Loss', (base, ), {})
    for project, cls in (('mmdet', base), ('mmrotate', derived)):
        module = type(sys)(f'{project}.models.losses')
        module.SmoothL1Loss = cls
        monkeypatch.setitem(sys.modules, module.__name__, module)
    loss = SmoothL1Loss()
    found = drop_in.stock_classes(SmoothL1Loss)
    assert derived in found and base not in found
    assert isinstance(loss, base) and isinstance(loss, derived)


def test_of_a_module_of_mmengine(monkeypatch):
    """mmengine's BaseModule has a metaclass, as mmdet's TripletLoss does."""
    module = type(sys)('mmdet.models.losses')
    module.SmoothL1Loss = type('SmoothL1Loss', (BaseModule, ), {})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    loss = SmoothL1Loss()
    assert isinstance(loss, module.SmoothL1Loss)
    assert type(loss) is SmoothL1Loss and loss.__class__ is not SmoothL1Loss


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(stock, protocol):
    loss = SmoothL1Loss(beta=0.5)
    for twin in (pickle.loads(pickle.dumps(loss,
                                           protocol)), copy.deepcopy(loss),
                 copy.copy(loss)):
        assert type(twin) is SmoothL1Loss and twin.beta == 0.5
        assert repr(twin) == repr(loss)


def test_compiles(stock):
    needs_dynamo()
    loss = SmoothL1Loss(beta=0.5)
    pred, target = torch.randn(2, 5, 4)
    compiled = torch.compile(loss, backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


def test_no_project_is_imported():
    code = '''
import sys
from mmlosses.losses import SmoothL1Loss
loss = SmoothL1Loss()
assert loss.__class__ is SmoothL1Loss
assert not {'mmcv', 'mmdet', 'mmpose'} & sys.modules.keys()
'''
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.slow
def test_dynamic_rcnn():
    """It asserts the class of the loss, and moves its ``beta``."""
    import detectors

    def model_with(prefix):

        def change(model):
            model.train_cfg.rcnn.dynamic_rcnn.update_iter_interval = 1
            loss = model.roi_head.bbox_head.loss_bbox
            loss.type = prefix + loss.type

        return detectors.build_detector(
            'dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco.py', change)

    stock, ours = model_with(''), model_with('mmlosses.')
    for _ in range(2):
        expected, norm = detectors.step(stock)
        losses, own_norm = detectors.step(ours)
        assert losses == pytest.approx(expected, rel=1e-4)
        assert own_norm == pytest.approx(norm, rel=1e-3)
    one, other = [x.roi_head.bbox_head.loss_bbox for x in (stock, ours)]
    assert type(other) is SmoothL1Loss
    assert other.beta == pytest.approx(one.beta) and other.beta != 1
