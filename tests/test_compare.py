"""Rank losses by trainings with several seeds."""
import inspect
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from cases import CASES
from helpers import ROOT, needs_dotted_paths
from mmengine.config import Config

pytest.importorskip('optuna')
stats = pytest.importorskip('scipy.stats')
pytestmark = needs_dotted_paths

from mmlosses.commands import compare  # noqa: E402
from mmlosses.compare.candidates import metric_of  # noqa: E402
from mmlosses.compare.candidates import (find_slots, parse_candidate, shorten,
                                         with_loss)
from mmlosses.compare.ranking import interval  # noqa: E402
from mmlosses.compare.ranking import holm, paired_p, rank, seeds_to_tell

BOXES = str(ROOT / 'configs/digits/boxes_giou.py')
from mmlosses.compare.report import Leaderboard, print_outcome  # noqa: E402
from mmlosses.compare.search import space_of  # noqa: E402
from mmlosses.compare.study import Comparison, Outcome  # noqa: E402
from mmlosses.compare.trial import Result, trial_config  # noqa: E402

# One step, on few pictures.
TINY = [
    'train_dataloader.dataset.num_scenes=50', 'train_dataloader.batch_size=25',
    'val_dataloader.dataset.num_scenes=20', 'default_hooks.logger.interval=1'
]


def arguments(folder, *losses, seeds=2, more=()):
    return [
        BOXES, '--slot', 'head.loss', '--losses', *losses, '--seeds',
        str(seeds), '--epochs', '2', '--work-dir',
        str(folder), *more, '--cfg-options', *TINY
    ]


def run(capsys, *given):
    """The exit status, and what is printed."""
    try:
        compare.main(list(given))
    except SystemExit as stop:
        text = capsys.readouterr()
        code = stop.code
        return (1, text.out +
                code) if isinstance(code, str) else (code, text.out + text.err)
    return 0, capsys.readouterr().out


def test_interval_is_that_of_scipy():
    values = [0.3, 0.5, 0.45, 0.2]
    mean, half = interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert interval([0.5]) == (0.5, float('inf'))


def test_intervals_hold_the_mean_in_95_of_100_studies():
    draws = np.random.default_rng(0).normal(3.0, 2.0, (2000, 5))
    holds = [abs(m - 3.0) <= half for m, half in map(interval, draws.tolist())]
    assert np.mean(holds) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize('effect, number', [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_to_tell(effect, number):
    """Sample sizes of a paired t test by G*Power, for a power of 0.8."""
    noise = np.random.default_rng(0).normal(size=50)
    differences = (noise - noise.mean()) / noise.std(ddof=1) + effect
    assert abs(seeds_to_tell(differences.tolist()) - number) <= 1


def test_power_of_the_number_of_seeds():
    """With so many seeds, 80 in 100 studies find the difference."""
    generator = np.random.default_rng(0)
    studies = generator.normal(1.0, 1.5, (2000, 20))
    number = seeds_to_tell(
        (stats.zscore(studies[0], ddof=1) * 1.5 + 1.0).tolist())
    found = [
        paired_p(x) < 0.05
        for x in generator.normal(1.0, 1.5, (2000, number)).tolist()
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


def test_correction_for_the_number_of_losses():
    """The example of Holm's paper, by hand."""
    got = holm(dict(a=0.01, b=0.04, c=0.03, d=0.005))
    assert got == pytest.approx(dict(d=0.02, a=0.03, c=0.06, b=0.06))


def test_ranks():
    noise = [0.01, -0.02, 0.015, 0.0, -0.005]
    results = {
        'stock': {
            seed: 0.5 + x
            for seed, x in enumerate(noise)
        },
        'up': {
            seed: 0.6 + x / 2
            for seed, x in enumerate(noise)
        },
        'same': {
            seed: 0.5 + x
            for seed, x in enumerate(noise)
        },
        'noise': {
            seed: 0.5 - x
            for seed, x in enumerate(noise)
        },
        'broken': {},
        'other seed': {
            7: 0.9
        },
    }
    rows = {row.name: row for row in rank(results, 'stock', greater=True)}
    assert list(rows)[:2] == ['other seed', 'up']
    assert list(rows)[-1] == 'broken'
    assert rows['up'].verdict == 'better'
    assert rows['stock'].verdict == 'the reference'
    assert rows['same'].verdict == 'equal'
    assert rows['noise'].verdict.startswith('within the noise')
    assert rows['broken'].verdict.startswith('not comparable')
    assert rows['other seed'].verdict.startswith('not comparable')
    less = {row.name: row for row in rank(results, 'stock', greater=False)}
    assert less['up'].verdict == 'worse'
    # The seeds are paired: their common part is no noise.
    shifts = [0.0, 5.0, -3.0, 9.0, 1.0]
    paired = {
        name: {
            seed: value + shifts[seed]
            for seed, value in results[name].items()
        }
        for name in ('stock', 'up')
    }
    row, = [x for x in rank(paired, 'stock', True) if x.name == 'up']
    assert row.verdict == 'better' and row.metric.half > 1


def test_never_a_winner_from_one_seed():
    rows = rank({'stock': {0: 0.1}, 'up': {0: 0.9}}, 'stock', greater=True)
    assert rows[0].verdict == 'one seed tells nothing' and rows[0].p is None


@pytest.mark.parametrize('text, loss', [
    ('stock', None),
    ('GIoULoss', dict(type='mmlosses.GIoULoss')),
    ('SIoULoss(theta=2)', dict(type='mmlosses.SIoULoss', theta=2)),
    ('mmdet.L1Loss(loss_weight=-1e-3)',
     dict(type='mmdet.L1Loss', loss_weight=-1e-3)),
])
def test_candidates(text, loss):
    assert parse_candidate(text) == (text, loss)


@pytest.mark.parametrize('text', ['', 'A B', 'L1Loss(2)', '3', 'L1Loss(a=b)'])
def test_no_candidate(text):
    with pytest.raises(ValueError, match='is no loss such as'):
        parse_candidate(text)


def test_slots():
    cfg = Config.fromfile(BOXES)
    assert find_slots(cfg, 'head.loss') == ['model.head.loss']
    assert find_slots(cfg, '*loss') == ['model.head.loss']
    with pytest.raises(ValueError, match=r'no loss at loss_bbox, only at he'):
        find_slots(cfg, 'loss_bbox')


def test_loss_weight_of_the_slot_stays():
    cfg = Config(
        dict(
            model=dict(
                heads=[dict(loss=dict(type='A', loss_weight=5.0, beta=1))])))
    path = 'model.heads.0.loss'
    got = with_loss(cfg, [path], parse_candidate('L1Loss'))
    assert got.model.heads[0].loss == dict(
        type='mmlosses.L1Loss', loss_weight=5.0)
    own = with_loss(cfg, [path], parse_candidate('L1Loss(loss_weight=2.0)'))
    assert own.model.heads[0].loss.loss_weight == 2.0
    assert cfg.model.heads[0].loss.type == 'A'


def test_shorter_trainings_keep_their_schedule():
    cfg = Config.fromfile(BOXES)
    shorten(cfg, 5, None)
    assert cfg.train_cfg.max_epochs == 5 and cfg.train_cfg.val_interval == 3
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.end == 60 and cosine.T_max == 5
    cfg.param_scheduler = dict(type='MultiStepLR', milestones=[3, 4])
    shorten(cfg, 2, None)
    assert cfg.param_scheduler.milestones == [1, 2]
    assert cfg.train_cfg.val_interval == 2
    with pytest.raises(ValueError, match='does not train by max_iters'):
        shorten(cfg, None, 100)


def test_metric():
    cfg = Config.fromfile(BOXES)
    assert metric_of(cfg, None, None) == ('mIoU', True)
    assert metric_of(cfg, 'mIoU', 'less') == ('mIoU', False)
    assert metric_of(cfg, 'loss', None) == ('loss', False)
    with pytest.raises(ValueError, match='more or less wisdom is better'):
        metric_of(cfg, 'wisdom', None)
    cfg.default_hooks.checkpoint.pop('save_best')
    with pytest.raises(ValueError, match='choose one by --metric'):
        metric_of(cfg, None, None)
    cfg.val_dataloader = None
    with pytest.raises(ValueError, match='no validation to rank'):
        metric_of(cfg, None, None)


@pytest.mark.parametrize(
    'backends', [None, [], ['TensorboardVisBackend'], ['LocalVisBackend']])
def test_config_of_a_training(tmp_path, backends):
    """Its metrics are written, whatever else the config writes."""
    cfg = Config.fromfile(BOXES)
    if backends is not None:
        cfg.visualizer = dict(
            type='Visualizer', vis_backends=[dict(type=x) for x in backends])
    got = trial_config(cfg, 3, tmp_path / 'weights.pth')
    assert got.randomness == dict(seed=3) and cfg.randomness == dict(seed=0)
    assert got.load_from == str(tmp_path / 'weights.pth')
    kinds = [hook.type for hook in got.custom_hooks]
    assert kinds == ['mmlosses.SameStartHook', 'mmlosses.LossDoctorHook']
    if backends is not None:
        kinds = [each['type'] for each in got.visualizer.vis_backends]
        assert kinds.count('LocalVisBackend') == 1
        assert set(backends) <= set(kinds)


@pytest.mark.parametrize('losses, more, words', [
    (['GIoULos'], (), 'did you mean'),
    (['GIoULoss(gama=2)'], (), 'takes no gama'),
    (['KLDiscretLoss'], (), 'KLDiscretLoss does not train'),
    (['GIoULoss', 'GIoULoss'], (), 'has a loss twice'),
    (['GIoULoss'], ('--metric', 'wisdom'), 'more or less wisdom'),
    (['GIoULoss'], ('--slot', 'neck.loss'), 'no loss at neck.loss'),
])
def test_mistakes_are_one_line_before_any_training(tmp_path, capsys, losses,
                                                   more, words):
    status, text = run(capsys, *arguments(tmp_path, *losses, more=more))
    assert status == 1 and words in text
    assert 'Traceback' not in text and not list(tmp_path.glob('seed_*'))


def test_time_left(capsys):
    """Of 8 trainings of a minute each, 6 are left."""
    print_outcome(Outcome('A', 1, Result({2: 0.5}, 0.1, 0)), 2, 8, 60.0)
    assert capsys.readouterr().out == '[2/8] A, seed 1: 0.5000; 6 min left\n'


def test_other_losses_after_an_interruption(tmp_path, monkeypatch):
    """A training that was waiting is not run if its loss is gone."""
    cfg = Config.fromfile(BOXES)
    monkeypatch.setattr(Comparison, 'train',
                        lambda *args: Result({1: 0.5}, 0.1, 0))

    def study(*names):
        return Comparison(cfg, ['model.head.loss'],
                          [parse_candidate(name) for name in names], 1, 'mIoU',
                          tmp_path)

    study('stock', 'CIoULoss', 'SIoULoss').enqueue()
    told = []
    for names in (('stock', 'L1Loss'), ('stock', 'SIoULoss')):
        comparison = study(*names)
        comparison.work(told.append)
        assert [x.name for x in comparison.outcomes()] == list(names)
    assert [x.name for x in told] == ['stock', 'L1Loss', 'SIoULoss']


def test_trainings_that_two_workers_ask_for_at_once(tmp_path, monkeypatch):
    """Each looks before the other has asked; they run once all the same."""
    cfg = Config.fromfile(BOXES)
    monkeypatch.setattr(Comparison, 'train',
                        lambda *args: Result({1: 0.5}, 0.1, 0))
    workers = [
        Comparison(cfg, ['model.head.loss'],
                   [parse_candidate(name)
                    for name in ('stock', 'CIoULoss')], 1, 'mIoU', tmp_path)
        for _ in range(2)
    ]
    with monkeypatch.context() as patch:
        patch.setattr(Comparison, 'settled', lambda self: {})
        for worker in workers:
            worker.enqueue()
    told = []
    for worker in workers:
        worker.work(told.append)
        assert len(worker.outcomes()) == 2
    assert [x.name for x in told] == ['stock', 'CIoULoss']


def test_time_of_a_step_is_that_of_the_least_disturbed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Comparison, 'train',
        lambda self, candidate, seed, folder: Result({1: 0.5},
                                                     (0.3, 0.1)[seed], seed))
    comparison = Comparison(
        Config.fromfile(BOXES), ['model.head.loss'],
        [parse_candidate('stock')], 2, 'mIoU', tmp_path)
    comparison.work(lambda outcome: None)
    board = Leaderboard(comparison, 'stock', True)
    assert board.costs('stock') == (100.0, 1)


def command(folder, *losses, seeds=2, more=()):
    return [
        sys.executable, '-m', 'mmlosses', 'compare',
        *arguments(folder, *losses, seeds=seeds, more=more)
    ]


def board(folder):
    return json.loads((folder / 'leaderboard.json').read_text())


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed(tmp_path):
    """What was done stays done; the losses start from the same weights."""
    started = subprocess.Popen(
        command(tmp_path, 'CIoULoss'), start_new_session=True)
    first = tmp_path / 'seed_0/stock'
    second = tmp_path / 'seed_0/CIoULoss'
    deadline = time.time() + 300
    while not list(second.glob('*/vis_data/scalars.json')):
        assert time.time() < deadline and started.poll() is None
        time.sleep(0.1)
    # Only the parent: its training must end by itself.
    started.send_signal(signal.SIGKILL)
    started.wait()
    runs = list(first.glob('2*'))
    done = subprocess.run(
        command(tmp_path, 'CIoULoss'), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(first.glob('2*')) == runs, 'a finished training ran again'
    losses = {x['loss']: x for x in board(tmp_path)['losses']}
    assert losses.keys() == {'stock', 'CIoULoss'}
    for each in losses.values():
        assert each['values'].keys() == {'0', '1'}
        assert each['milliseconds'] > 0
        mean = statistics.fmean(each['values'].values())
        assert each['metric']['mean'] == pytest.approx(mean)
        assert all(x.keys() == {'2'} for x in each['curves'].values())
    assert 'better' not in losses['CIoULoss']['verdict']
    assert (tmp_path / 'leaderboard.png').stat().st_size > 5000
    page = (tmp_path / 'leaderboard.md').read_text()
    assert '| CIoULoss | 2 | 0.' in page
    # Another config does not go on with these results.
    other = command(tmp_path, 'CIoULoss')
    other[other.index('2', other.index('--epochs'))] = '3'
    refused = subprocess.run(other, capture_output=True, text=True)
    assert refused.returncode == 1
    assert 'results of another config' in refused.stderr


@pytest.mark.slow
def test_workers_and_a_training_that_fails(tmp_path):
    """NaN is a row with its reason, and the others are ranked."""
    done = subprocess.run(
        command(
            tmp_path,
            'GIoULoss(loss_weight=1e38)',
            'DIoULoss',
            more=('--workers', '2')),
        capture_output=True,
        text=True)
    assert done.returncode == 1, done.stderr
    losses = {x['loss']: x for x in board(tmp_path)['losses']}
    assert losses['DIoULoss']['values'].keys() == {'0', '1'}
    broken = losses['GIoULoss(loss_weight=1e38)']
    assert broken['metric'] is None
    failures = board(tmp_path)['failures']
    assert len(failures) == 2 and 'inite' in failures[0]
    assert '| failed |' in (tmp_path / 'leaderboard.md').read_text()
    # Twins: the loss of the config by its name has its numbers.
    twins = subprocess.run(
        command(tmp_path / 'twin', 'GIoULoss'), capture_output=True, text=True)
    assert twins.returncode == 0, twins.stderr
    one, other = board(tmp_path / 'twin')['losses']
    assert one['values'] == other['values']
    assert other['verdict'] == 'equal'


@pytest.mark.parametrize(
    'case', [case for case in CASES if case.loss.info.search],
    ids=lambda case: case.loss.__name__)
def test_each_range_of_the_search_is_valid(case):
    """Both ends can be built, and what is tried first is between them."""
    for name, ends in case.loss.info.search.items():
        for value in ends:
            assert getattr(case.build(**{name: value}), name) == value
        assert ends[0] < ends[1]
        default = inspect.signature(case.loss).parameters[name].default
        assert ends[0] <= default <= ends[1]


def test_space_of_a_search():
    space = space_of(
        dict(type='mmlosses.FocalLoss', loss_weight=2.0), dict(gamma=3))
    assert space == dict(loss_weight=(0.5, 8.0), alpha=(0.1, 0.9))
    stock = space_of(dict(type='torch.nn.L1Loss'), {})
    assert stock == dict(loss_weight=(0.25, 4.0))


@pytest.mark.slow
def test_search(tmp_path):
    """Arguments are tuned with a seed of their own; written ones stay."""
    done = subprocess.run(
        command(
            tmp_path,
            'SIoULoss(loss_weight=2.0)',
            seeds=1,
            more=('--search', '2')),
        capture_output=True,
        text=True)
    assert done.returncode == 0, done.stderr
    printed = re.findall(r'search: (\S+), (.*): 0\.\d+', done.stdout)
    assert [name for name, _ in printed
            ] == ['stock'] * 2 + ['SIoULoss(loss_weight=2.0)'] * 2
    assert [text for _, text in printed][::2] == ['loss_weight=1', 'theta=4']
    tuned = board(tmp_path)['tuned']
    assert tuned['SIoULoss(loss_weight=2.0)'].keys() == {'theta'}
    folder = tmp_path / 'seed_0' / 'SIoULoss_loss_weight=2.0_'
    loss = Config.fromfile(folder / 'config.py').model.head.loss
    assert loss.theta == tuned['SIoULoss(loss_weight=2.0)']['theta']
    assert loss.loss_weight == 2.0
    searched = Config.fromfile(next(tmp_path.glob('search/stock/0/config.py')))
    assert searched.randomness.seed == 1
    assert '## Tuned' in (tmp_path / 'leaderboard.md').read_text()


def programs():
    """The folder of PostgreSQL's programs, or None."""
    folders = sorted(Path('/usr/lib/postgresql').glob('*/bin'))
    found = shutil.which('initdb')
    return Path(found).parent if found else folders[-1] if folders else None


@pytest.fixture
def database():
    """The URL of a PostgreSQL server of its own, without a network."""
    pytest.importorskip('psycopg2')
    if programs() is None:
        pytest.skip('PostgreSQL is not installed here')
    with tempfile.TemporaryDirectory() as folder:
        user = []
        if os.getuid() == 0:  # which it refuses
            shutil.chown(folder, 'postgres')
            user = ['runuser', '-u', 'postgres', '--']

        def call(program, *given):
            subprocess.run([*user, str(programs() / program), *given],
                           cwd=folder,
                           stdout=subprocess.DEVNULL,
                           check=True)

        call('initdb', '-D', f'{folder}/data', '-U', 'mmlosses', '-A', 'trust')
        options = f"-k {folder} -c listen_addresses=''"
        call('pg_ctl', '-D', f'{folder}/data', '-o', options, '-l',
             f'{folder}/log', '-w', 'start')
        try:
            yield f'postgresql+psycopg2://mmlosses@/postgres?host={folder}'
        finally:
            call('pg_ctl', '-D', f'{folder}/data', '-m', 'immediate', 'stop')


@pytest.mark.slow
def test_machines_share_a_postgresql_database(tmp_path, database):
    """Each training runs on one of them, and both write all results."""
    started = [
        subprocess.Popen(
            command(tmp_path, 'CIoULoss', more=('--storage', database)),
            stdout=subprocess.PIPE,
            text=True) for _ in range(2)
    ]
    printed = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    done = [x for text in printed for x in text.splitlines() if 'seed' in x]
    assert len([x for x in done if x.startswith('[')]) == 4
    assert all('| CIoULoss | 2 |' in x or 'CIoULoss  2 ' in x for x in printed)
    for each in board(tmp_path)['losses']:
        assert each['values'].keys() == {'0', '1'}
    runs = list(tmp_path.glob('seed_*/*/2*/vis_data'))
    assert len(runs) == 4, 'a training ran twice'
