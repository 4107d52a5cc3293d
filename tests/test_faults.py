"""Trainings that are killed, files that are damaged, disks that are full."""
import importlib
import os
import os.path as osp
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from helpers import ROOT, needs_dotted_paths
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

from mmlosses.commands import train as train_command

pytestmark = [needs_dotted_paths, pytest.mark.slow]

pytest.importorskip('sklearn', reason='the demo needs scikit-learn')

CONFIG = """
_base_ = {base!r}
model = dict(type='faulty.NoisyNet', channels=(8, 8))
train_dataloader = dict(batch_size=10, dataset=dict(num_scenes=50))
val_dataloader = dict(dataset=dict(num_scenes=20))
train_cfg = dict(max_epochs=3, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1))
"""
LAST = 'epoch_3.pth'


def run(tool, *args, **kwargs):
    """Run a tool as a user does; configs find ``faulty`` beside this file."""
    path = os.pathsep.join([osp.dirname(__file__), str(ROOT)])
    return subprocess.run(
        [sys.executable,
         osp.join(ROOT, 'tools', tool), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, PYTHONPATH=path),
        **kwargs)


def train(config, work_dir, *args):
    return run('train.py', config, '--work-dir', work_dir, *args)


@pytest.fixture
def tool(monkeypatch):
    """tools/train.py in this process, which saves the time of a start."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    # Trainings of one second have one name.
    for kind in (MessageHub, MMLogger, Visualizer):
        kind._instance_dict.clear()
    return train_command


def last_words(main, *args):
    """The one line that a tool ends with, where it fails."""
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    words = str(ended.value)  # what Python prints, with exit status 1
    assert words.startswith('error: ') and '\n' not in words
    return words


def write_config(folder, text='', name='config.py'):
    config = folder / name
    base = osp.join(ROOT, 'configs', 'digits', 'center_softmax.py')
    config.write_text(CONFIG.format(base=base) + text)
    return config


def load(path):
    return torch.load(path, weights_only=False)


def curves(path):
    """Loss of each iteration and metrics of each validation."""
    scalars = load(path)['message_hub']['log_scalars']
    return {
        name: scalar.data[0].tolist()
        for name, scalar in scalars.items()
        if 'loss' in name or name.startswith('val/accuracy')
    }


def assert_same_training(one, other):
    """Two checkpoints are of the same curves and have the same weights."""
    assert curves(one) == curves(other)
    one, other = load(one), load(other)
    assert one['state_dict'].keys() == other['state_dict'].keys()
    for name, value in one['state_dict'].items():
        assert torch.equal(value, other['state_dict'][name]), name
    torch.testing.assert_close(
        one['optimizer'], other['optimizer'], rtol=0, atol=0)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


@pytest.fixture(scope='module')
def undisturbed(config, tmp_path_factory):
    """A whole training, with all its checkpoints."""
    work_dir = tmp_path_factory.mktemp('undisturbed')
    done = train(config, work_dir, '--cfg-options',
                 'default_hooks.checkpoint.max_keep_ckpts=-1')
    assert done.returncode == 0, done.stderr
    assert len(curves(work_dir / LAST)['train/loss']) == 15
    return work_dir


@pytest.mark.parametrize('place, iteration, left', [
    ('after_train_iter', 7, 'epoch_1.pth'),
    pytest.param('before_val_epoch', 10, 'epoch_2.pth'),
    pytest.param('writing', 9, 'epoch_1.pth'),
])
def test_killed_training_resumes_to_the_same_curve(undisturbed, tmp_path,
                                                   place, iteration, left):
    kill = (f"custom_hooks = [dict(type='faulty.Kill', place={place!r}, "
            f'iteration={iteration})]')
    killed = train(write_config(tmp_path, kill, 'killed.py'), tmp_path)
    assert killed.returncode == -(
        signal.SIGXFSZ if place == 'writing' else signal.SIGKILL)
    # One is kept, and does not make room for the next before that is there.
    assert [x.name for x in tmp_path.glob('epoch_*.pth')] == [left]
    done = train(write_config(tmp_path), tmp_path, '--resume')
    assert done.returncode == 0, done.stderr
    assert f'resumed epoch: {left[6]}' in done.stdout
    assert_same_training(tmp_path / LAST, undisturbed / LAST)
    assert (tmp_path / 'curves.png').exists()
    assert not list(tmp_path.glob('*.part'))


def test_a_training_without_a_seed_resumes_its_own(tmp_path, config):
    """The order of the samples and all random numbers are those it had."""
    options = [
        '--cfg-options', 'randomness.seed=None',
        'default_hooks.checkpoint.max_keep_ckpts=-1'
    ]
    done = train(config, tmp_path / 'whole', *options)
    assert done.returncode == 0, done.stderr
    done = train(config, tmp_path / 'resumed', '--resume',
                 tmp_path / 'whole' / 'epoch_1.pth', *options)
    assert done.returncode == 0, done.stderr
    assert_same_training(tmp_path / 'resumed' / LAST,
                         tmp_path / 'whole' / LAST)


@pytest.mark.parametrize('note', ['', '/nowhere/epoch_2.pth', None])
def test_the_latest_checkpoint_needs_no_note(note, tool, undisturbed,
                                             tmp_path):
    """Killed while it was written; or the folder was moved."""
    moved = shutil.copytree(undisturbed, tmp_path / 'moved')
    if note is None:
        (moved / 'last_checkpoint').unlink()
    else:
        (moved / 'last_checkpoint').write_text(note)
    (moved / 'epoch_4.pth.part').touch()
    (moved / 'best_accuracy_epoch_1.pth').touch()
    os.utime(moved / LAST)
    assert tool.latest_checkpoint(str(moved)) == str(moved / LAST)


def damage(kind, path):
    """Damage a checkpoint."""
    whole, checkpoint = path.read_bytes(), load(path)
    if kind == 'truncated':
        path.write_bytes(whole[:len(whole) // 2])
    elif kind == 'empty':
        path.write_bytes(b'')
    elif kind == 'garbage':
        path.write_bytes(bytes(range(256)) * 100)
    elif kind == 'script':
        torch.jit.save(torch.jit.script(torch.nn.Identity()), str(path))
    elif kind == 'list':
        torch.save([1, 2], path)
    elif kind in checkpoint:
        del checkpoint[kind]
        torch.save(checkpoint, path)
    elif kind == 'other model':
        checkpoint['state_dict'] = {'a': torch.zeros(1)}
        torch.save(checkpoint, path)
    elif kind == 'shape':
        name = 'head.loss_module.centers'
        checkpoint['state_dict'][name] = torch.zeros(11, 16)
        torch.save(checkpoint, path)


@pytest.mark.parametrize('kind, words', [
    ('truncated', 'damaged'),
    ('empty', 'damaged'),
    ('garbage', 'damaged'),
    ('list', 'no checkpoint'),
    ('script', 'no checkpoint'),
    ('meta', 'has no meta'),
    ('message_hub', 'has no message_hub'),
    ('other model', 'missing keys'),
    ('shape', 'head.loss_module.centers'),
])
def test_damaged_checkpoint_ends_in_one_line(kind, words, undisturbed,
                                             tmp_path, config, tool):
    """The others stay as they are, and can be resumed."""
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        shutil.copy(undisturbed / name, tmp_path)
    damage(kind, tmp_path / 'epoch_2.pth')
    good = (tmp_path / 'epoch_1.pth').read_bytes()
    bad = (tmp_path / 'epoch_2.pth').read_bytes()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    line = last_words(tool.main, config, '--work-dir', tmp_path, '--resume')
    assert str(tmp_path / 'epoch_2.pth') in line and words in line
    assert (tmp_path / 'epoch_1.pth').read_bytes() == good
    assert (tmp_path / 'epoch_2.pth').read_bytes() == bad


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder, )


def hide(payload, where, checkpoint):
    """Put a payload into a checkpoint."""
    if where == 'meta':
        checkpoint['meta']['time'] = payload
    elif where == 'message_hub':
        checkpoint['message_hub']['runtime_info']['best_score'] = payload
    elif where == 'state_dict':
        checkpoint['state_dict']['payload'] = payload


@pytest.mark.parametrize('legacy', (False, True), ids=('zip', 'legacy'))
@pytest.mark.parametrize('where', ('meta', 'message_hub', 'state_dict'))
def test_a_payload_in_a_checkpoint_does_not_run(where, legacy, undisturbed,
                                                tmp_path, config, tool):
    checkpoint = load(undisturbed / 'epoch_1.pth')
    hide(Payload(tmp_path / 'executed'), where, checkpoint)
    bad = tmp_path / 'bad.pth'
    torch.save(checkpoint, bad, _use_new_zipfile_serialization=not legacy)
    # It is one indeed.
    load(bad)
    (tmp_path / 'executed').rmdir()
    line = last_words(tool.main, config, '--work-dir', tmp_path, '--resume',
                      bad)
    assert line == (f'error: {bad} cannot be resumed: it holds posix.mkdir, '
                    'which could run code')
    assert not (tmp_path / 'executed').exists()


def test_a_config_in_a_checkpoint_does_not_run(undisturbed, tmp_path, config):
    """mmengine evaluates it when it resumes."""
    checkpoint = load(undisturbed / 'epoch_1.pth')
    text = f'x = __import__("os").mkdir({str(tmp_path / "executed")!r})'
    checkpoint['meta'].update(config=text, cfg=text)
    torch.save(checkpoint, tmp_path / 'bad.pth')
    done = train(config, tmp_path, '--resume', tmp_path / 'bad.pth')
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / 'executed').exists()
    assert_same_training(tmp_path / LAST, undisturbed / LAST)


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for two checkpoints and the best, and not for three."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=260k', 'tmpfs', str(disk)]
    try:
        done = subprocess.run(mount, stderr=subprocess.PIPE)
    except FileNotFoundError:
        pytest.skip('there is no mount')
    if done.returncode != 0:
        pytest.skip('only root may mount a small disk')
    yield disk
    subprocess.run(['umount', str(disk)], check=True)


def test_full_disk_ends_in_one_line_and_loses_nothing(undisturbed, small_disk,
                                                      config):
    """With more room, the training goes on."""
    keep = ('--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=-1')
    done = train(config, small_disk, *keep)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f'error: No space left on device: {small_disk / LAST}')
    assert 'Traceback' not in done.stderr
    saved = ['best_accuracy_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth']
    assert sorted(x.name for x in small_disk.glob('*.pth*')) == saved
    for name in saved[1:]:
        assert_same_training(small_disk / name, undisturbed / name)
    subprocess.run(['mount', '-o', 'remount,size=2m',
                    str(small_disk)],
                   check=True)
    done = train(config, small_disk, '--resume', *keep)
    assert done.returncode == 0, done.stderr
    assert_same_training(small_disk / LAST, undisturbed / LAST)


@pytest.mark.parametrize('content, name, words', [
    (None, 'ann.json', 'No such file or directory'),
    ('folder', 'ann.json', 'Is a directory'),
    (b'{"metainfo": {}, "data_list": [', 'ann.json', 'Expecting value'),
    (b'', 'ann.json', 'Expecting value'),
    (bytes(range(256)), 'ann.json', 'decode'),
    (b'[1, 2]', 'ann.json', 'should be a dict'),
    (b'{"images": []}', 'ann.json', 'data_list'),
    (b'garbage', 'ann.pkl', 'truncated'),
    (b'', 'ann.pkl', 'Ran out of input'),
    (b'a: [', 'ann.yaml', 'while parsing'),
])
def test_unreadable_annotation_ends_in_one_line(content, name, words, tool,
                                                tmp_path):
    ann_file = tmp_path / name
    if content == 'folder':
        ann_file.mkdir()
    elif content is not None:
        ann_file.write_bytes(content)
    line = last_words(tool.main, annotated(tmp_path, ann_file), '--work-dir',
                      tmp_path / 'work')
    assert words in line and (str(ann_file) in line
                              or words in ('should be a dict', 'data_list'))


def annotated(folder, ann_file):
    """A config whose training reads an annotation."""
    return write_config(
        folder, f"""
train_dataloader['dataset'] = dict(
    _delete_=True,
    type='mmengine.dataset.BaseDataset',
    ann_file={str(ann_file)!r})
""")


def test_a_payload_in_an_annotation_does_not_run(tool, tmp_path):
    """Where arrays and plain values are all that there is, it is read."""
    ann_file = tmp_path / 'ann.pkl'
    content = dict(
        metainfo=dict(classes=('a', )),
        data_list=[dict(boxes=np.eye(4), size=np.float32(3), tags={1, 2})])
    ann_file.write_bytes(pickle.dumps(content))
    with tool.trusted_files():
        assert str(mmengine.load(ann_file)) == str(content)
    content['data_list'].append(Payload(tmp_path / 'executed'))
    ann_file.write_bytes(pickle.dumps(content))
    line = last_words(tool.main, annotated(tmp_path, ann_file), '--work-dir',
                      tmp_path / 'work')
    assert 'it holds posix.mkdir' in line and str(ann_file) in line
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('name, content, words', [
    ('config.py', b'\xff\xfe', 'config.py'),
    ('config.py', b'model = dict(', 'config.py, line 1'),
    ('config.py', b'model = 1 / 0', 'division by zero'),
    ('config.json', b'{', 'config.json: Expecting'),
    ('config.yaml', b'a: [', 'config.yaml: while parsing'),
    ('config.py', None, 'Is a directory'),
])
@pytest.mark.parametrize('name_of_tool', ['train', 'check_config'])
def test_unreadable_config_ends_in_one_line(name_of_tool, name, content, words,
                                            tool, tmp_path):
    main = importlib.import_module(f'mmlosses.commands.{name_of_tool}').main
    config = tmp_path / name
    if content is None:
        config.mkdir()
    else:
        config.write_bytes(content)
    assert words in last_words(main, config)


def test_digits_table_says_which_config_did_not_train(tmp_path):
    page = Path(ROOT) / 'configs' / 'digits' / 'README.md'
    before = page.read_text()
    config = write_config(tmp_path, "model['type'] = 'nothing.Here'")
    done = run('dev/digits_table.py', config)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f'error: {config} did not train: ')
    assert page.read_text() == before


def test_damaged_record_of_real_pictures_is_named(tmp_path):
    (tmp_path / 'test_coco.json').write_text('{}')
    record = tmp_path / 'real_pictures.json'
    record.write_text('{"SimCC": {"stock": [1')
    done = run('dev/real_pictures.py', tmp_path, '--out', tmp_path)
    assert done.returncode == 1
    # Imports may warn before.
    assert done.stderr.splitlines()[-1].startswith(
        f'error: {record}: Expecting')
    assert 'Traceback' not in done.stderr


def test_a_page_is_whole_or_the_one_before(tmp_path):
    """Where a write ends in the middle."""
    from pages import write_block
    page = tmp_path / 'page.md'
    write_block(page, 'numbers', 'before')
    before = page.read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError):
            write_block(page, 'numbers', 'x' * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert page.read_text() == before
    assert os.listdir(tmp_path) == ['page.md']
