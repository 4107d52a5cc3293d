"""The command that puts mmlosses into a config."""
import copy
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmlosses.checks import swaps as module
from mmlosses.checks.batches import detection_batch
from mmlosses.checks.step import start_from
from mmlosses.checks.swaps import find_swaps, overrides, swapped
from mmlosses.commands import swap

pytestmark = pytest.mark.openmmlab
pytest.importorskip('mmdet', reason='needs mmcv and mmdet')

RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
CASCADE = 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'
SIMCC = ('mmpose::body_2d_keypoint/simcc/coco/'
         'simcc_res50_8xb64-210e_coco-256x192.py')
HEATMAP = ('mmpose::body_2d_keypoint/topdown_heatmap/coco/'
           'td-hm_res50_8xb64-210e_coco-256x192.py')


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: its status, output and config."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        status = 0
        try:
            swap.main([*map(str, args)])
        except SystemExit as end:
            status = end.code
        written = [x for x in tmp_path.glob('*_mmlosses.py')]
        cfg = Config.fromfile(written[0]) if written else None
        return status, capsys.readouterr().out, cfg

    return call


def test_stock_config_by_name(run, tmp_path):
    status, text, cfg = run(RETINANET)
    assert status == 0
    head = cfg.model.bbox_head
    assert head.loss_cls.type == 'mmlosses.FocalLoss'
    assert head.loss_cls.alpha == 0.25 and head.loss_cls.use_sigmoid
    assert head.loss_bbox.type == 'mmlosses.L1Loss'
    assert cfg.train_cfg.max_epochs == 12
    assert 'bbox_head.loss_cls' in text and 'mmdet.FocalLoss' in text
    # Only what differs is written, and no path of this machine.
    source = (tmp_path / 'retinanet_r50_fpn_1x_coco_mmlosses.py').read_text()
    assert source.startswith(f'_base_ = {RETINANET!r}\n')
    assert 'alpha' not in source and str(tmp_path) not in source


def test_path_relative_to_the_new_file(run, tmp_path):
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'config.py').write_text(f'_base_ = {RETINANET!r}\n')
    out = tmp_path / 'other'
    out.mkdir()
    status, _, _ = run(folder / 'config.py', '--out', out / 'new.py')
    assert status == 0
    assert "_base_ = '../mine/config.py'" in (out / 'new.py').read_text()
    cfg = Config.fromfile(out / 'new.py')
    assert cfg.model.bbox_head.loss_bbox.type == 'mmlosses.L1Loss'


@pytest.mark.slow
def test_losses_in_a_list(run):
    """mmengine replaces a list as a whole."""
    _, _, cfg = run(CASCADE)
    heads = cfg.model.roi_head.bbox_head
    assert len(heads) == 3
    for head in heads:
        assert head.type == 'Shared2FCBBoxHead' and head.num_classes == 80
        assert head.loss_cls.type == 'mmlosses.CrossEntropyLoss'
        assert head.loss_bbox.type == 'mmlosses.SmoothL1Loss'
    assert cfg.model.rpn_head.loss_cls.type == 'mmlosses.CrossEntropyLoss'


@pytest.mark.parametrize('pattern, replaced', [('*loss_bbox', ['loss_bbox']),
                                               ('*.FocalLoss', ['loss_cls'])])
def test_only(run, pattern, replaced):
    _, text, cfg = run(RETINANET, '--only', pattern)
    for name in ('loss_cls', 'loss_bbox'):
        ours = cfg.model.bbox_head[name].type.startswith('mmlosses.')
        assert ours == (name in replaced)
    assert f'not in {pattern}' in text


def test_what_keeps_the_number_is_written(run):
    """KLDiscretLoss of mmpose sums over the batch."""
    _, text, cfg = run(SIMCC)
    loss = cfg.model.head.loss
    assert loss.type == 'mmlosses.KLDiscretLoss'
    assert loss.size_average is False and loss.use_target_weight is True
    assert 'the same, with size_average=False' in text


def test_other_defaults_are_written():
    """mmpose ignores a weight by default, mmlosses applies it."""
    import mmpose.models  # noqa: F401
    model = dict(head=dict(loss=dict(type='L1Loss', _scope_='mmpose')))
    found, = find_swaps(Config(dict(model=model)))
    assert found.stock == 'mmpose.L1Loss'
    assert found.settings == dict(use_target_weight=False)
    model['head']['loss']['use_target_weight'] = True
    found, = find_swaps(Config(dict(model=model)))
    assert found.settings == {}


def test_scope_of_what_is_built_within():
    """mmdet3d's configs of nuImages give it to the whole model."""
    pytest.importorskip('mmdet.models')
    head = dict(loss_bbox=dict(type='L1Loss', loss_weight=2.0))
    cfg = Config(dict(model=dict(_scope_='mmdet', roi_head=[head])))
    found = find_swaps(cfg)
    assert [(x.stock, x.ours)
            for x in found] == [('mmdet.L1Loss', 'mmlosses.L1Loss')]
    loss = swapped(cfg, found).model.roi_head[0].loss_bbox
    assert loss == dict(type='mmlosses.L1Loss', loss_weight=2.0)
    assert cfg.model.roi_head[0] == head


def test_other_names():
    """EIoULoss is Efficient IoU here, and Extended IoU in mmdet."""
    pytest.importorskip('mmdet.models')
    model = dict(head=dict(loss_bbox=dict(type='mmdet.EIoULoss')))
    found, = find_swaps(Config(dict(model=model)))
    assert found.ours == 'mmlosses.ExtendedIoULoss'


def test_loss_that_a_head_knows_by_its_string(monkeypatch):
    """Anchor3DHead of mmdet3d samples unless the type is mmdet's."""
    pytest.importorskip('mmdet.models')
    head = dict(
        type='Anchor3DHead',
        loss_cls=dict(type='mmdet.FocalLoss'),
        loss_bbox=dict(type='mmdet.SmoothL1Loss'))
    found = find_swaps(Config(dict(model=dict(bbox_head=head))))
    assert [x.ours for x in found] == ['', 'mmlosses.SmoothL1Loss']
    assert 'samples unless' in found[0].number


def test_pure_python_config(run, tmp_path):
    if not hasattr(Config, '_is_lazy_import'):
        pytest.skip('mmengine has pure-Python configs since 0.8')
    (tmp_path / 'lazy.py').write_text('''
from mmdet.models import FocalLoss, L1Loss

model = dict(
    heads=[dict(loss_cls=dict(type=FocalLoss, gamma=1.5, alpha=0.3)),
           dict(loss_bbox=dict(type=L1Loss))])
''')
    status, text, cfg = run(tmp_path / 'lazy.py')
    assert status == 0, text
    first, second = cfg.model.heads
    assert first.loss_cls.type == 'mmlosses.FocalLoss'
    assert first.loss_cls.gamma == 1.5
    assert second.loss_bbox.type == 'mmlosses.L1Loss'


@pytest.mark.parametrize('args, words', [
    (['mmdet::retinanet/retinanet_r50_fpn_1x_cocoo'], 'did you mean retina'),
    (['nowhere::config'], 'no package nowhere'),
    (['nothere.py'], 'nothere.py'),
])
def test_mistakes(run, args, words):
    status, _, cfg = run(*args)
    assert cfg is None
    assert status.startswith('error: ') and words in status
    assert '\n' not in status


def test_the_config_itself_is_not_overwritten(run, tmp_path):
    text = f'_base_ = {RETINANET!r}\n'
    (tmp_path / 'config.py').write_text(text)
    status, _, _ = run('config.py', '--out', 'config.py')
    assert 'another file' in status
    assert (tmp_path / 'config.py').read_text() == text


def test_nothing_to_replace(run):
    status, text, cfg = run(RETINANET, '--only', 'nothing')
    assert status == 0 and cfg is None and 'nothing to replace' in text


@pytest.mark.slow
@pytest.mark.parametrize('config', [RETINANET, SIMCC, HEATMAP])
def test_check_agrees(run, config):
    status, text, _ = run(config, '--check', '--size', 128)
    assert status == 0, text
    assert text.endswith('agrees with stock\n')
    assert 'gradient norm' in text and 'differs' not in text


@pytest.mark.slow
def test_check_tells_a_difference(run, monkeypatch):
    monkeypatch.setattr(module, 'SETTINGS', {})
    status, text, _ = run(SIMCC, '--check')
    assert status == 1
    assert 'differs in ' in text.splitlines()[-1]
    monkeypatch.setattr(module, 'REASONS',
                        {'mmpose.KLDiscretLoss': 'the mean over the batch'})
    status, text, _ = run(SIMCC, '--check')
    assert status == 0
    assert text.endswith('since model.head.loss: the mean over the batch\n')


@pytest.mark.slow
def test_check_that_stock_cannot_pass(run, tmp_path):
    (tmp_path / 'config.py').write_text(f'''
_base_ = {RETINANET!r}
model = dict(bbox_head=dict(num_classes=80, loss_bbox=dict(beta=1.0)))
''')
    status, text, _ = run('config.py', '--check', '--size', 128)
    assert status == 2 and 'could not be judged: stock' in text


@pytest.mark.parametrize('name, ours', [
    ('SIoULoss', 'mmlosses.SIoULoss'),
    ('NoSuchLoss', ''),
    ('nowhere.SIoULoss', ''),
])
def test_loss_that_stock_does_not_find(name, ours):
    """S2A-Net for HRSC in mmrotate leaves the scope of mmdet out."""
    loss = dict(type=name, _scope_='mmseg')
    found, = find_swaps(Config(dict(model=dict(head=dict(loss=loss)))))
    assert (found.stock, found.ours) == (name, ours)
    assert found.number == 'not registered, so stock does not build'


def test_batch_for_a_config_without_training_data():
    """DeepSORT's has None there."""
    cfg = Config(dict(model=dict(num_classes=3), train_dataloader=None))
    batch = detection_batch(cfg, 64)
    assert [x.shape[-1] for x in batch['inputs']] == [64, 64]


def test_both_start_from_the_same_weights():
    """Where the model has them, in the same shape."""
    one, other = nn.Linear(2, 3), nn.Linear(2, 3)
    bias = other.bias.detach().clone()
    weights = start_from(one, {})
    start_from(other, dict(weights, bias=torch.zeros(7), more=bias))
    assert torch.equal(other.weight, one.weight)
    assert torch.equal(other.bias, bias)


def test_overrides_leave_the_config_alone():
    pytest.importorskip('mmdet.models')
    cfg = Config(dict(model=dict(loss=dict(type='mmdet.L1Loss'))))
    before = copy.deepcopy(cfg)
    found = find_swaps(cfg)
    assert overrides(cfg, found) == dict(loss=dict(type='mmlosses.L1Loss'))
    assert swapped(cfg, found).model.loss.type == 'mmlosses.L1Loss'
    assert cfg.to_dict() == before.to_dict()


def test_help():
    done = subprocess.run([sys.executable, '-m', 'mmlosses', 'swap', '-h'],
                          stdout=subprocess.PIPE,
                          universal_newlines=True,
                          check=True)
    assert '--only' in done.stdout
