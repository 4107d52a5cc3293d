"""tools/train.py, run as a user runs it."""
import os
import os.path as osp
import re
import subprocess
import sys

import pytest
import torch
from helpers import ROOT, needs_dotted_paths

pytestmark = [needs_dotted_paths, pytest.mark.slow]

pytest.importorskip('sklearn', reason='the demo needs scikit-learn')

CONFIG = osp.join(ROOT, 'configs', 'digits', 'simcc_kl.py')
SHORT = [
    'train_dataloader.dataset.num_scenes=200',
    'val_dataloader.dataset.num_scenes=50', 'train_cfg.max_epochs=4',
    'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1',
    'default_hooks.checkpoint.max_keep_ckpts=-1'
]


def train(*args, cwd=ROOT, launch=()):
    tool = osp.join(ROOT, 'tools', 'train.py')
    return subprocess.run([sys.executable, *launch, tool, *map(str, args)],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True,
                          cwd=str(cwd))


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('trained')
    done = train(CONFIG, '--work-dir', work_dir, '--cfg-options', *SHORT)
    assert done.returncode == 0, done.stderr
    return work_dir, done.stdout


def test_ends_with_the_metric(trained):
    _, output = trained
    assert re.fullmatch(r'PCK: [01]\.\d{4}', output.splitlines()[-1])
    assert 'eta:' in output  # how long it will take


def test_loss_falls(trained):
    _, output = trained
    losses = [float(x) for x in re.findall(r'loss_kpt: ([\d.]+)', output)]
    assert len(losses) == 4 and losses[-1] < 0.97 * losses[0]


def test_leaves_checkpoints_and_curves(trained):
    work_dir, _ = trained
    names = os.listdir(work_dir)
    assert 'epoch_4.pth' in names and 'last_checkpoint' in names
    assert (work_dir / 'curves.png').stat().st_size > 10_000


def test_resumed_training_ends_where_the_whole_one_does(trained, tmp_path):
    work_dir, output = trained
    done = train(CONFIG, '--work-dir', tmp_path, '--resume',
                 work_dir / 'epoch_2.pth', '--cfg-options', *SHORT)
    assert done.returncode == 0, done.stderr
    assert 'resumed epoch: 2' in done.stdout
    assert done.stdout.splitlines()[-1] == output.splitlines()[-1]
    one, other = [
        torch.load(folder / 'epoch_4.pth', weights_only=False)['state_dict']
        for folder in (work_dir, tmp_path)
    ]
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_resume_alone_takes_the_latest_checkpoint(trained):
    work_dir, output = trained
    done = train(CONFIG, '--work-dir', work_dir, '--resume', '--cfg-options',
                 *SHORT)
    assert done.returncode == 0, done.stderr
    assert 'resumed epoch: 4' in done.stdout
    assert 'Epoch(train)' not in done.stdout
    # The last validation came after the last checkpoint.
    assert osp.isfile(work_dir / 'curves.png')


def test_two_processes(tmp_path):
    """Over gloo, where there is no GPU; one of them reports."""
    done = train(
        CONFIG,
        '--launcher',
        'pytorch',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'env_cfg.dist_cfg.backend=gloo',
        *SHORT,
        launch=('-m', 'torch.distributed.run', '--standalone',
                '--nproc_per_node', '2'))
    assert done.returncode == 0, done.stderr
    assert 'Epoch(train) [4][2/2]' in done.stdout
    assert len(re.findall('^PCK: ', done.stdout, re.MULTILINE)) == 1


@pytest.mark.parametrize('args, words', [
    (['nothere.py'], 'No such file or directory: nothere.py'),
    ([], 'required: config'),
    ([CONFIG, '--frobnicate'], 'unrecognized arguments: --frobnicate'),
    ([CONFIG, '--resume', 'nothere.pth'], 'no checkpoint nothere.pth'),
    ([CONFIG, '--cfg-options', 'words'], 'words is not KEY=VALUE'),
    ([CONFIG, '--cfg-options', 'optim_wraper.lr=1'
      ], 'unknown setting optim_wraper.lr; did you mean optim_wrapper?'),
    ([CONFIG, '--cfg-options', 'model.head.loss.type=mmlosses.KLDiscretLos'
      ], 'mmlosses.KLDiscretLos is not a registered model; did you mean '
     'mmlosses.KLDiscretLoss?'),
    ([CONFIG, '--cfg-options', 'model.head.type=mmlosses.demo.SimHead'
      ], 'did you mean mmlosses.demo.SimCCHead?'),
    ([CONFIG, '--cfg-options', 'model.head.loss.bta=2'
      ], "unexpected keyword argument 'bta'"),
    ([CONFIG, '--cfg-options', 'model.head.loss.reduction=avg'
      ], "reduction must be 'mean', 'sum' or 'none', got 'avg'"),
    ([CONFIG, '--cfg-options', 'train_dataloader.dataset.split=test'
      ], "split must be 'train' or 'val', got 'test'"),
])
def test_mistakes_end_in_one_clear_line(args, words, tmp_path):
    if args and args[0] == CONFIG:
        args = [*args, '--work-dir', tmp_path]
    done = train(*args, cwd=tmp_path)
    assert done.returncode != 0
    assert words in done.stderr.strip().splitlines()[-1]
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('text, words', [
    ('model = dict(\n', 'line 1'),
    ("_base_ = 'nothere.py'\n", 'No such file or directory'),
    ("model = dict(type='mmlosses.demo.DigitNet')\nwork_dir = 'w'\n",
     "missing 1 required positional argument: 'head'"),
    ("model = dict(type='torch.nn.Identity')\n", 'configures no training'),
])
def test_mistakes_in_a_config(text, words, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(text)
    done = train(config, cwd=tmp_path)
    assert done.returncode != 0
    assert words in done.stderr.strip().splitlines()[-1]
    assert 'Traceback' not in done.stderr
