"""tools/check_config.py, on configs that train and on broken ones."""
import os.path as osp
import socket
import subprocess
import sys
import urllib.request

import pytest
import torch
from helpers import ROOT, needs_dotted_paths
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from mmlosses.checks.configs import check_losses
from mmlosses.checks.step import Stop
from mmlosses.commands import check_config, train
from mmlosses.losses import DiceLoss

TOOL = ROOT / 'tools/check_config.py'

DIGITS = sorted((ROOT / 'configs/digits').glob('[!_]*.py'))
FEW_SCENES = 'train_dataloader.dataset.num_scenes=20'


def check(config, *options):
    """A config after one step."""
    if options:
        options = ('--cfg-options', *options)
    args = check_config.parse_args([str(config), *options])
    done = check_config.Check(check_config.load_config(args), size=128)
    done.run()
    return done


def problems(done):
    """The findings without the notes on stock losses."""
    return [finding for finding in done.found if finding.level != 'note']


def run(*args):
    """The command as a user runs it."""
    return subprocess.run([sys.executable, *map(str, args)],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True,
                          cwd=str(ROOT))


@pytest.fixture
def digits():
    """Skip where the demo cannot be built."""
    pytest.importorskip('sklearn', reason='the demo needs scikit-learn')


@pytest.fixture
def openmmlab():
    """Skip where there is no real mmdet and mmpose."""
    try:
        import mmdet.models  # noqa: F401
        import mmpose.models  # noqa: F401
    except (ImportError, AssertionError) as error:
        # mmdet asserts the version of mmcv.
        pytest.skip(f'needs mmcv, mmdet and mmpose: {error}')


@pytest.mark.slow
@needs_dotted_paths
@pytest.mark.parametrize('config', DIGITS, ids=lambda path: path.stem)
def test_configs_of_digits_train(digits, config):
    done = check(config, FEW_SCENES)
    assert done.trains
    # Statistics are of one process here.
    assert all(['SyncStatisticsHook' in str(x) for x in done.found])
    # Nothing but our losses is in these totals, nor any of them twice.
    assert done.rows and all(
        cls.startswith('mmlosses.') for _, cls, *_ in done.rows)
    parts = sum(value for *_, value, _ in done.rows)
    assert parts == pytest.approx(done.terms['loss'], rel=1e-5)
    assert all(norm > 0 for *_, norm in done.rows)
    if len(done.rows) == 1:
        assert done.rows[0][-1] == pytest.approx(done.norm, rel=1e-5)


@pytest.mark.slow
@needs_dotted_paths
def test_command_prints_losses_and_verdict(digits):
    done = run(TOOL, DIGITS[0].parent / 'ccs.py', '--cfg-options', FEW_SCENES)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        'loss', 'class', 'calls', 'value', 'gradient', 'norm'
    ]
    row = lines[1].split()
    assert row[1] == 'mmlosses.ModifiedSoftmaxLoss' and float(row[3]) > 0
    assert lines[-1] == 'trains'


@needs_dotted_paths
@pytest.mark.parametrize('option, words', [
    ('model.head.loss.type=mmlosses.KLDiscretLos',
     'model.head.loss: mmlosses.KLDiscretLos is not a registered model; did '
     'you mean mmlosses.KLDiscretLoss?'),
    ('model.head.loss.type=KLDiscretLoss',
     'KLDiscretLoss is not a registered model; did you mean '
     'mmlosses.KLDiscretLoss?'),
    ('model.head.loss.type=mmloses.KLDiscretLoss',
     'there is no package mmloses here; did you mean mmlosses.KLDiscretLoss?'),
    ('model.head.type=mmlosses.demo.SimHead',
     'model.head.type: mmlosses.demo.SimHead is not a registered model; did '
     'you mean mmlosses.demo.SimCCHead?'),
    ('model.head.loss.bta=2',
     'model.head.loss: mmlosses.KLDiscretLoss takes no bta; did you mean '
     'beta?'),
    ('model.head.loss.reduction=avg',
     "reduction must be 'mean', 'sum' or 'none', got 'avg'"),
    ('model.head.loss.type=mmlosses.CIoULoss',
     'model.head.loss: mmlosses.CIoULoss takes no bin_reduction, '
     'normalize_target. Where it is left over'),
    ('model.head.loss.loss_weight=inf',
     'head.loss_module (mmlosses.KLDiscretLoss) is inf for pred tuple of 2'),
    ('model.head.loss.loss_weight=0', 'the gradient is 0: nothing is learnt'),
    ('train_dataloader=None', 'no batch could be made: no batch can be made '
     'for this model: the config has no train_dataloader'),
    ('train_dataloader.dataset.split=test',
     "no batch could be made: split must be 'train' or 'val', got 'test'"),
])
def test_mistakes_in_a_training_of_digits(digits, option, words):
    option = option.replace('=inf', '=1e39')  # beyond float32
    done = check(DIGITS[0].parent / 'simcc_kl.py', FEW_SCENES, option)
    assert not done.trains
    assert words in '\n'.join(map(str, done.found))


@needs_dotted_paths
def test_steps_learn_the_batch(digits):
    config = check_config.load_config(
        check_config.parse_args([
            str(ROOT / 'configs/digits/boxes_ciou.py'), '--cfg-options',
            FEW_SCENES
        ]))
    done = check_config.Check(config, size=128, steps=4)
    done.run()
    # The loss at the start is that of the one step.
    assert done.trains and done.curve[0] == pytest.approx(done.terms['loss'])
    assert len(done.curve) == 5 and done.curve[-1] < done.curve[0]
    assert not done.found


class Climber(BaseModel):
    """Its gradient leads up, which no single step shows."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, inputs, mode='loss'):
        return dict(loss=2 * self.weight.detach() - self.weight)


def test_steps_that_climb_are_told():
    done = check_config.Check(Config(), steps=3)
    done.learn(Climber(1.0), {'inputs': torch.zeros(1)})
    assert len(done.curve) == 4
    assert [str(finding) for finding in done.found] == [
        'warning: the total does not fall: from 1 to 1 after 3 steps on one '
        'batch'
    ]
    assert done.verdict == 'runs, with warnings' and done.status == 0
    with pytest.raises(Stop):
        done.learn(Climber(float('nan')), {'inputs': torch.zeros(1)})
    assert str(done.found[-1]) == 'error: the total is nan after 0 steps'


def test_mistake_is_the_exit_status(tmp_path, capsys):
    config = tmp_path / 'config.py'
    config.write_text("model = dict(type='mmlosses.L1Los')\n")
    with pytest.raises(SystemExit) as exit:
        check_config.main([str(config)])
    assert exit.value.code == 1
    message, verdict = capsys.readouterr().out.splitlines()
    assert message == ('error: model.type: mmlosses.L1Los is not a registered '
                       'model; did you mean mmlosses.L1Loss?')
    assert verdict == 'does not train as it is'


@pytest.mark.parametrize('text, words', [
    ('model = dict(\n', 'line 1'),
    ('loss = 1\n', 'has no model'),
    ("model = dict(type='torch.nn.Identity')\n",
     'torch.Identity is no model of mmengine'),
    (None, 'No such file or directory'),
])
@needs_dotted_paths
def test_what_is_no_config_of_a_model(text, words, tmp_path, capsys):
    config = tmp_path / 'config.py'
    if text is not None:
        config.write_text(text)
    with pytest.raises(SystemExit) as exit:
        check_config.main([str(config)])
    assert exit.value.code not in (0, None)
    assert words in str(exit.value.code) + capsys.readouterr().out


@pytest.mark.parametrize('text', [
    "_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n",
    "default_scope = 'mmdet'\nmodel = dict(type='RetinaNet')\n",
])
def test_without_mmdet(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    config = tmp_path / 'config.py'
    config.write_text(text)
    with pytest.raises(SystemExit) as exit:
        check_config.main([str(config)])
    assert exit.value.code == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith('could not be judged: ')
    assert 'config.py needs mmdet, which cannot be imported here' in line
    assert 'tools/install_openmmlab.sh' in line


@pytest.mark.parametrize('text', ['model = dict(', 'loss = 1 +'])
def test_syntax_errors_are_told_before_mmdet_is_imported(
        openmmlab, text, tmp_path, monkeypatch):
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'\n{text}")
    monkeypatch.setattr(check_config, 'require', pytest.fail)
    with pytest.raises(SystemExit, match=f'error: {config}'):
        check_config.main([str(config)])


@needs_dotted_paths
@pytest.mark.parametrize('option, words', [
    ('train_cfg.max_epochs=0', 'train_cfg.max_epochs must be at least 1'),
    ('train_cfg.max_epochs=abc', 'train_cfg.max_epochs must be an integer'),
    ('train_cfg.val_interval=0', 'train_cfg.val_interval must be at least 1'),
    ('optim_wrapper.optimizer.lr=abc',
     "optim_wrapper.optimizer.lr must be a number, got 'abc'"),
    ('optim_wrapper.clip_grad.max_norm=x',
     "optim_wrapper.clip_grad.max_norm must be a number, got 'x'"),
    ('optimizer.lr=0.1', 'unknown setting optimizer.lr'),
])
@pytest.mark.parametrize('command', [check_config, train])
def test_wrong_settings_of_a_training_are_named(digits, command, option, words,
                                                tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        command.main([
            str(DIGITS[0].parent / 'simcc_kl.py'), '--cfg-options', FEW_SCENES,
            option
        ])
    assert exit.value.code.startswith('error: ')
    assert words in exit.value.code and '\n' not in exit.value.code


def test_training_on_cpus_keeps_find_unused_parameters(monkeypatch):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    for name, value in dict(
            RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1',
            MASTER_PORT=port).items():
        monkeypatch.setenv(name, str(value))
    cfg = Config(dict(find_unused_parameters=True))
    train.distribute_on_cpu(cfg)
    torch.distributed.destroy_process_group()
    assert cfg.model_wrapper_cfg['find_unused_parameters'] is True


class Needy(Climber):
    """Its step needs something that this machine does not have."""

    def __init__(self, need):
        super().__init__(1.0)
        self.need = need
        if need == 'package':
            raise RuntimeError('lap is not installed, please install it by: '
                               'pip install lap')

    def forward(self, inputs, mode='loss'):
        if self.need == 'target':
            return InstanceData().text
        if self.need == 'masks':  # pipelines load them
            return InstanceData().masks
        if self.need == 'network':
            return urllib.request.urlopen('http://127.0.0.1:9')
        return super().forward(inputs)


NOISE = dict(type='test_check_config.Noise')


class Noise(torch.utils.data.Dataset):
    """Samples for any model."""

    def __init__(self, ann_file=None):
        if ann_file is not None:
            open(ann_file)

    def __getitem__(self, index):
        return dict(inputs=torch.zeros(1))


@needs_dotted_paths
@pytest.mark.parametrize('need, dataset, status, words', [
    ('', NOISE, 0, 'trains'),
    ('', None, 2, 'no batch can be made for this model: the config has no'),
    ('', dict(NOISE, ann_file='none.json'), 2,
     'no batch could be made: FileNotFoundError: '),
    ('', dict(type='BaseDatset'), 1, 'BaseDatset is not a registered dataset'),
    ('package', NOISE, 2, 'RuntimeError: lap is not installed, please'),
    ('target', NOISE, 2, "'InstanceData' object has no attribute 'text'"),
    ('network', NOISE, 2, 'URLError: <urlopen error [Errno'),
    ('masks', NOISE, 1, "'InstanceData' object has no attribute 'masks'"),
])
def test_what_cannot_be_judged_is_no_error(need, dataset, status, words,
                                           tmp_path, capsys):
    config = tmp_path / 'config.py'
    config.write_text(f"""\
model = dict(type='test_check_config.Needy', need={need!r})
train_dataloader = dict(dataset={dataset!r})
""")
    with pytest.raises(SystemExit) as exit:
        check_config.main([str(config)])
    *found, verdict = capsys.readouterr().out.splitlines()
    assert exit.value.code == status
    assert words in '\n'.join([*found, verdict])
    if status == 2:
        assert found[-1].startswith('could not be judged: ')
        assert verdict == 'could not be judged'


# The config of a loss in mmdet, and what is said of its name.
NAMED = [
    (dict(type='SIoULoss'), [
        "note: 'SIoULoss' is mmdet's; mmlosses has its own: "
        "'mmlosses.SIoULoss'. Known of mmdet's: distance cost of the wrong "
        'sign; gradient pushes boxes apart; '
    ]),
    (dict(type='FocalCustomLoss', num_classes=2), [
        "note: 'FocalCustomLoss' is mmdet's; mmlosses has its own: "
        "'mmlosses.FocalCustomLoss'. Known of mmdet's: activated has no effect"
    ]),
    (dict(type='ResNet', depth=18), []),
    # Arguments that only another project has.
    (dict(type='mmlosses.LabelSmoothLoss', label_smooth_val=0.1), []),
    (dict(type='mmlosses.L2Loss', neg_pos_ub=3), []),
    (dict(type='mmlosses.KDLoss', weight=0.1), []),
    (dict(type='mmlosses.KDLoss', weight=0.1, loss_weight=0.1), [
        'error: model.head.loss: loss_weight and weight are two names of one '
        'argument of KDLoss, got both'
    ]),
    (dict(type='mmdet.SIoULoss'), []),
    (dict(type='mmlosses.SIoULoss'), []),
    (dict(type='KeypointMSELoss'), [
        'error: model.head.loss: KeypointMSELoss is not a registered model; '
        'did you mean mmlosses.KeypointMSELoss?'
    ]),
    (dict(type='mmlosses.BCELos'), [
        'error: model.head.loss: mmlosses.BCELos is not a registered model; '
        'did you mean mmlosses.BCELoss?'
    ]),
]


@pytest.mark.openmmlab
@pytest.mark.parametrize('loss, expected', NAMED)
def test_whose_loss_a_name_is(openmmlab, loss, expected):
    check_config.init_default_scope('mmdet')
    cfg = Config(dict(default_scope='mmdet', model=dict(head=dict(loss=loss))))
    found = [str(finding) for finding in check_losses(cfg)]
    assert len(found) == len(expected)
    assert all(text.startswith(x) for text, x in zip(found, expected)), found


class MaskModel(Climber):
    """A head that gives its loss what it is not made for."""

    def __init__(self, target=1.0, avg_factor=None):
        super().__init__(0.5)
        self.loss_mask = DiceLoss()
        self.target, self.avg_factor = target, avg_factor

    def forward(self, inputs, mode='loss'):
        shape = (2, 4, 4)
        loss = self.loss_mask(
            self.weight.expand(shape),
            torch.full(shape, self.target),
            avg_factor=self.avg_factor)
        return dict(loss_mask=loss)


@needs_dotted_paths
@pytest.mark.parametrize('given, status, words', [
    (dict(avg_factor=2), 0, ''),
    (dict(avg_factor=0), 0, 'warning: loss_mask (mmlosses.DiceLoss): '
     'avg_factor is 0: the sum is divided by about 1e-7'),
    (dict(target=255.0), 1, 'error: loss_mask (mmlosses.DiceLoss) cannot be '
     'called with pred float32 (2, 4, 4) in [0.5, 0.5], target float32 '
     '(2, 4, 4) in [255, 255], avg_factor None: '),
])
def test_values_that_a_loss_is_not_made_for(given, status, words):
    cfg = Config(
        dict(
            model=dict(type='test_check_config.MaskModel', **given),
            train_dataloader=dict(dataset=NOISE)))
    done = check_config.Check(cfg)
    done.run()
    assert done.status == status
    assert bool(words) == bool(done.found)
    assert words in '\n'.join(map(str, done.found))


# Stock detectors, with less of everything but losses.
RETINANET = """\
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=32),
    bbox_head=dict(
        in_channels=32, feat_channels=32, stacked_convs=1, num_classes=5))
"""
MASK_RCNN = """\
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32),
        bbox_head=dict(in_channels=32, fc_out_channels=64, num_classes=5),
        mask_roi_extractor=dict(out_channels=32),
        mask_head=dict(
            in_channels=32, conv_out_channels=32, num_convs=1,
            num_classes=5)))
"""
CENTERNET = """\
_base_ = 'mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py'
model = dict(bbox_head=dict())
"""
HEATMAP = """\
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/'
          'td-hm_res50_8xb64-210e_coco-256x192.py']
model = dict(
    backbone=dict(depth=18),
    head=dict(in_channels=512, deconv_out_channels=(32, 32, 32)))
"""
YOLOX = """\
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
model = dict()
"""
DYNAMIC_RCNN = """\
_base_ = 'mmdet::dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco.py'
model = dict(backbone=dict(depth=18))
"""
GFL = """\
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=32),
    bbox_head=dict(
        in_channels=32, feat_channels=32, stacked_convs=1, num_classes=5))
"""
SMALL_FASTER_RCNN = """dict(
        backbone=dict(depth=18),
        neck=dict(in_channels=[64, 128, 256, 512], out_channels=32),
        rpn_head=dict(in_channels=32, feat_channels=32),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=32),
            bbox_head=dict(in_channels=32, fc_out_channels=64)))"""
SOFT_TEACHER = f"""\
_base_ = ['mmdet::soft_teacher/'
          'soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py']
model = dict(detector={SMALL_FASTER_RCNN})
"""
QDTRACK = f"""\
_base_ = 'mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py'
model = dict(
    detector={SMALL_FASTER_RCNN},
    track_head=dict(
        roi_extractor=dict(out_channels=32),
        embed_head=dict(in_channels=32, conv_out_channels=32,
                        fc_out_channels=64)))
"""
SIMCC = """\
_base_ = ['mmpose::body_2d_keypoint/simcc/coco/'
          'simcc_res50_8xb64-210e_coco-256x192.py']
model = dict(backbone=dict(depth=18), head=dict(in_channels=512))
"""
FCOS = """\
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
find_unused_parameters = {find}
model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=32),
    bbox_head=dict(
        in_channels=32, feat_channels=32, stacked_convs=1, num_classes=5,
        {slot}=dict(
            _delete_=True, type='mmlosses.SumLoss', {more}
            weighting='uncertainty',
            losses=[dict(type='mmlosses.{loss}', loss_weight=1.0)])))
"""
BASES = dict(
    gfl=GFL,
    soft_teacher=SOFT_TEACHER,
    qdtrack=QDTRACK,
    simcc=SIMCC,
    dynamic_rcnn=DYNAMIC_RCNN,
    retinanet=RETINANET,
    mask_rcnn=MASK_RCNN,
    centernet=CENTERNET,
    heatmap=HEATMAP,
    yolox=YOLOX)
LOSSES_OF_USERS = """\
from mmlosses.losses import L1Loss


class TwoLosses(L1Loss):

    def forward(self, *args, **kwargs):
        loss = super().forward(*args, **kwargs)
        return loss, loss


class OneNumber(L1Loss):

    def forward(self, *args, **kwargs):
        return float(super().forward(*args, **kwargs))
"""


def check_change(base, changes, tmp_path):
    """A stock config with one change, as a user would write it."""
    stock = tmp_path / 'stock.py'
    stock.write_text(BASES[base])
    model = {}
    for path, value in changes.items():
        for key in reversed(path.split('.')):
            value = {key: value}
        model = merge(model, value)
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = 'stock.py'\nmodel = {model!r}\n")
    return check(config)


def merge(one, other):
    """Both of two nested dicts."""
    return {
        key:
        merge(one[key], other[key])
        if key in one and key in other else one.get(key, other.get(key))
        for key in {
            **one,
            **other
        }
    }


@pytest.mark.slow
@pytest.mark.openmmlab
def test_config_of_mmpose_trains(openmmlab):
    done = check(ROOT /
                 'configs/mmpose/simcc_res50_kl_discret_coco-256x192.py')
    assert done.trains
    assert done.rows[0][:3] == ('head.loss_module', 'mmlosses.KLDiscretLoss',
                                1)
    # SimCCHead has a whole heatmap head inside, for its deconvolutions. That
    # its loss is not called is as it should be.
    assert done.found == []


@pytest.mark.slow
@needs_dotted_paths
@pytest.mark.openmmlab
@pytest.mark.parametrize('base', [
    'centernet', 'heatmap', 'mask_rcnn', 'qdtrack', 'retinanet',
    'soft_teacher', 'yolox'
])
def test_stock_configs_train(openmmlab, base, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(BASES[base])
    done = check(config)
    assert done.trains
    assert not [
        finding
        for finding in problems(done) if 'was not called' not in finding.text
    ]
    parts = sum(value for *_, value, _ in done.rows)
    assert parts == pytest.approx(done.terms['loss'], rel=1e-4)


@pytest.mark.slow
@needs_dotted_paths
@pytest.mark.openmmlab
@pytest.mark.parametrize(
    'slot, loss, find, told',
    [
        ('loss_bbox', 'GIoULoss', False, True),
        ('loss_bbox', 'GIoULoss', True, False),
        ('loss_cls', 'FocalLoss', False, False),  # called without objects too
    ])
def test_parameters_that_a_rank_may_not_use_are_told(openmmlab, slot, loss,
                                                     find, told, tmp_path):
    config = tmp_path / 'config.py'
    more = 'use_sigmoid=True,' if slot == 'loss_cls' else ''
    config.write_text(FCOS.format(slot=slot, loss=loss, find=find, more=more))
    done = check(config)
    assert done.trains and [str(finding) for finding in problems(done)] == [
        'warning: bbox_head.loss_bbox (mmlosses.SumLoss) has parameters, and '
        'is not called for images without objects: to train on several GPUs, '
        'write find_unused_parameters=True into the config'
    ] * told


@needs_dotted_paths
@pytest.mark.slow
@pytest.mark.openmmlab
def test_distiller_reads_its_configs_from_where_it_runs(
        openmmlab, monkeypatch):
    import mmpose
    folder = osp.join(osp.dirname(mmpose.__file__), '.mim')
    config = osp.join(
        folder, 'configs/wholebody_2d_keypoint/dwpose/coco-wholebody/s1_dis/'
        'dwpose_l_dis_m_coco-256x192.py')
    assert check(config).status == 2
    monkeypatch.chdir(folder)
    done = check(config)
    assert done.trains and done.rows, done.found


def vis_head(loss):
    """A head that applies a sigmoid if its loss has use_sigmoid=True."""
    return dict(
        _delete_=True,
        type='VisPredictHead',
        pose_cfg=dict(
            type='HeatmapHead',
            in_channels=512,
            out_channels=17,
            deconv_out_channels=(32, 32, 32),
            loss=dict(type='mmlosses.MSELoss', use_target_weight=True),
            decoder=dict(
                type='MSRAHeatmap',
                input_size=(192, 256),
                heatmap_size=(48, 64),
                sigma=2)),
        loss=dict(type=loss, use_sigmoid=True))


FOCAL = dict(_delete_=True, type='mmlosses.FocalLoss')
BROKEN = [
    ('retinanet', {
        'bbox_head.loss_cls.type': 'mmlosses.FocalLos'
    }, 'model.bbox_head.loss_cls: mmlosses.FocalLos is not a registered '
     'model; did you mean mmlosses.FocalLoss?'),
    ('retinanet', {
        'bbox_head.loss_cls': dict(_delete_=True, type='LabelSmoothLoss')
    }, 'LabelSmoothLoss is not a registered model; did you mean '
     'mmlosses.LabelSmoothLoss?'),
    ('retinanet', {
        'bbox_head.type': 'RetinaHed'
    }, 'model.bbox_head.type: RetinaHed is not a registered model; did you '
     'mean mmdet.RetinaHead?'),
    ('retinanet', {
        'bbox_head.loss_cls': FOCAL
    }, 'bbox_head.loss_cls (mmlosses.FocalLoss) applies a sigmoid, but '
     'mmdet.RetinaHead looks for use_sigmoid in its config, does not find '
     'it, and predicts 6 channels for a softmax: write use_sigmoid=True'),
    ('retinanet', {
        'bbox_head.loss_bbox': dict(_delete_=True, type='mmlosses.GIoULoss')
    }, 'bbox_head.loss_bbox (mmlosses.GIoULoss) needs boxes (x1, y1, x2, '
     'y2), but mmdet.RetinaHead gives it targets with x2 <= x1'),
    ('mask_rcnn', {
        'roi_head.bbox_head.loss_bbox':
        dict(_delete_=True, type='mmlosses.CIoULoss')
    }, 'such as [0.0, 0.0, 0.0, 0.0]: write reg_decoded_bbox=True into the '
     'head'),
    ('retinanet', {
        'bbox_head.loss_cls.type': 'mmlosses.LabelSmoothLoss'
    }, 'model.bbox_head.loss_cls: mmlosses.LabelSmoothLoss takes no alpha, '
     'gamma. Where it is left over from the loss of the base config, put '
     '_delete_=True'),
    ('retinanet', {
        'bbox_head.loss_angle': dict(_delete_=True, type='mmlosses.L1Loss')
    }, 'model.bbox_head.loss_angle: _delete_ is left over'),
    ('retinanet', {
        'bbox_head.loss_bbox':
        dict(_delete_=True, type='losses_of_users.TwoLosses')
    }, 'bbox_head.loss_bbox (losses_of_users.TwoLosses) returned a tuple '
     '(Tensor, Tensor), where mmdet.RetinaHead wants a tensor'),
    ('retinanet', {
        'bbox_head.loss_bbox':
        dict(_delete_=True, type='losses_of_users.OneNumber')
    }, 'bbox_head.loss_bbox (losses_of_users.OneNumber) returned a float, '),
    ('mask_rcnn', {
        'roi_head.bbox_head.loss_cls':
        dict(type='mmlosses.CrossEntropyLoss', class_weight=[1.0] * 5)
    }, 'roi_head.bbox_head.loss_cls (mmlosses.CrossEntropyLoss) cannot be '
     'called with pred float32'),
    ('mask_rcnn', {
        'roi_head.bbox_head.loss_cls':
        dict(type='mmlosses.CrossEntropyLoss', class_weight=[1.0] * 5)
    }, 'but the prediction has 6 classes'),
    ('mask_rcnn', {
        'roi_head.bbox_head.loss_cls':
        dict(_delete_=True, type='mmlosses.ArcFaceLogitLoss')
    }, 'the classifier of mmdet.Shared2FCBBoxHead is a plain linear layer'),
    ('mask_rcnn', {
        'roi_head.mask_head.loss_mask':
        dict(_delete_=True, type='mmlosses.DiceLoss')
    }, 'roi_head.mask_head.loss_mask (mmlosses.DiceLoss) gets class labels '
     'as its third argument from mmdet.FCNMaskHead'),
    ('centernet', {
        'bbox_head.loss_center_heatmap':
        dict(type='mmlosses.BalancedBCELoss', use_sigmoid=False),
        'bbox_head.loss_wh':
        dict(type='mmlosses.GaussianFocalLoss')
    }, 'bbox_head.loss_wh (mmlosses.GaussianFocalLoss) needs probabilities'),
    ('dynamic_rcnn', {
        'roi_head.bbox_head.loss_bbox':
        dict(_delete_=True, type='mmlosses.L1Loss')
    }, 'DynamicRoIHead changes the beta of a SmoothL1Loss and takes no other'),
    ('heatmap', {
        'head': vis_head('mmlosses.BalancedBCELoss')
    }, 'applies a sigmoid, and so does VisPredictHead'),
    ('heatmap', {
        'head.loss.type': 'mmlosses.KLDiscretLoss'
    }, 'head.loss_module (mmlosses.KLDiscretLoss) cannot be called with'),
]
SUSPECT = [
    ('mask_rcnn', {
        'rpn_head.loss_cls.type': 'mmlosses.BalancedBCELoss',
        'roi_head.bbox_head.loss_cls': dict(FOCAL, use_sigmoid=True),
        'roi_head.bbox_head.reg_decoded_bbox': True
    }, [
        'rpn_head.loss_cls (mmlosses.BalancedBCELoss) looks for hard '
        'negatives among those that RandomSampler has drawn',
        'roi_head.bbox_head.loss_cls (mmlosses.FocalLoss) applies a sigmoid, '
        'but mmdet.Shared2FCBBoxHead scores its boxes by a softmax',
        'roi_head.bbox_head.loss_bbox (mmdet.L1Loss) compares pixels'
    ]),
    ('centernet', {
        'bbox_head.loss_center_heatmap':
        dict(type='mmlosses.GaussianFocalLoss', use_sigmoid=True)
    }, ['applies a sigmoid to predictions that are probabilities already']),
    ('heatmap', {
        'head.loss': dict(type='mmlosses.MSELoss', use_target_weight=False)
    }, ['head.loss_module (mmlosses.MSELoss) ignores the weight 0']),
    ('yolox', {
        'bbox_head.loss_bbox':
        dict(_delete_=True, type='mmlosses.IoULoss', mode='square')
    }, [
        "bbox_head.loss_bbox (mmlosses.IoULoss) has reduction='mean', but "
        "YOLOXHead counts on 'sum'"
    ]),
    ('gfl', {
        'bbox_head.loss_bbox': dict(_delete_=True, type='mmlosses.NWDLoss')
    }, [
        'bbox_head.loss_bbox (mmlosses.NWDLoss) gets boxes of',
        'from mmdet.GFLHead, which are not in pixels, but perhaps in strides'
    ]),
    ('simcc', {
        'head.loss.type': 'mmlosses.KLDiscretLoss'
    }, [
        'head.loss_module (mmlosses.KLDiscretLoss) averages over the batch, '
        'where that of mmpose sums'
    ]),
]


@pytest.mark.slow
@needs_dotted_paths
@pytest.mark.openmmlab
@pytest.mark.parametrize('base, change', [
    ('retinanet', {
        'bbox_head.reg_decoded_bbox': True,
        'bbox_head.loss_bbox': dict(_delete_=True, type='mmlosses.NWDLoss')
    }),
    ('simcc', {
        'head.loss': dict(type='mmlosses.KLDiscretLoss', size_average=False)
    }),
    ('heatmap', {
        'head': vis_head('mmlosses.BCELoss')
    }),
])
def test_configs_without_suspicion(openmmlab, base, change, tmp_path):
    done = check_change(base, change, tmp_path)
    assert done.verdict == 'trains' and problems(done) == []
    again = check_change(base, change, tmp_path)
    assert again.rows == done.rows  # nothing of the fake batch is random


@pytest.mark.slow
@needs_dotted_paths
@pytest.mark.openmmlab
@pytest.mark.parametrize('base, changes, words', BROKEN)
def test_broken_configs(openmmlab, base, changes, words, tmp_path,
                        monkeypatch):
    (tmp_path / 'losses_of_users.py').write_text(LOSSES_OF_USERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'losses_of_users', raising=False)
    done = check_change(base, changes, tmp_path)
    assert not done.trains
    assert words in '\n'.join(map(str, done.found))


@pytest.mark.slow
@needs_dotted_paths
@pytest.mark.openmmlab
@pytest.mark.parametrize('base, changes, words', SUSPECT)
def test_suspect_configs(openmmlab, base, changes, words, tmp_path):
    done = check_change(base, changes, tmp_path)
    assert done.verdict == 'runs, with warnings', done.found
    text = '\n'.join(str(f) for f in done.found if f.level == 'warning')
    for part in words:
        assert part in text


@needs_dotted_paths
def test_statistics_of_several_ranks(digits, tmp_path):
    """A note, as long as no hook brings them together."""
    config = ROOT / 'configs/digits/boxes_wiou.py'
    found = check(config, FEW_SCENES).found
    assert [x.level for x in found] == ['note']
    assert 'WIoULoss moves mean_iou_loss' in found[0].text
    hooked = tmp_path / 'hooked.py'
    hooked.write_text(
        f'_base_ = {str(config)!r}\n'
        "custom_hooks = [dict(type='mmlosses.SyncStatisticsHook')"
        ']\n')
    assert check(hooked, FEW_SCENES).found == []
