"""The comparisons of losses on hard digits, and what the pages say of them."""
import json
import math
import statistics

import pytest

pytest.importorskip('sklearn', reason='the demo needs scikit-learn')
pytest.importorskip('optuna')
pytest.importorskip('scipy.stats')
pytest.importorskip('matplotlib')

import evidence
from helpers import ROOT, needs_dotted_paths
from mmengine.config import Config
from pages import read_block

from mmlosses.compare.candidates import check_candidates, parse_candidate

pytestmark = needs_dotted_paths

STUDIES = sorted(evidence.STUDIES)
FOUND = [name for name in STUDIES if evidence.results_of(name).exists()]


def test_each_config_has_a_study():
    configs = {path.stem for path in evidence.FOLDER.glob('[!_]*.py')}
    assert configs == set(STUDIES)


@pytest.mark.parametrize('name', STUDIES)
def test_annotations_of_the_validation_are_right(name):
    cfg = Config.fromfile(evidence.FOLDER / f'{name}.py')
    train, val = [
        dict(loader.dataset)
        for loader in (cfg.train_dataloader, cfg.val_dataloader)
    ]
    for key in ('wrong_labels', 'wrong_boxes', 'imbalance'):
        train.pop(key, None)
        assert key not in val
    for each in (train, val):
        del each['split'], each['num_scenes']
    assert train == val


@pytest.mark.slow
@pytest.mark.parametrize('name', STUDIES)
def test_losses_fit_the_slot(name):
    cfg = Config.fromfile(evidence.FOLDER / f'{name}.py')
    losses = [parse_candidate(x) for x in evidence.STUDIES[name].losses]
    assert not check_candidates(cfg, ['model.head.loss'], losses, 32)


@pytest.mark.parametrize('name', FOUND)
def test_results_are_complete(name):
    path = evidence.results_of(name)
    assert path.stat().st_size < 30_000
    losses = json.loads(path.read_text())['losses']
    assert set(losses) == {'stock', *evidence.STUDIES[name].losses}
    failed = [x for x in losses.values() if not x['values']]
    assert len(failed) == len(evidence.Results(name).failures) == 0
    for each in losses.values():
        assert set(each['values']) == set(map(str, range(evidence.SEEDS)))


@pytest.mark.parametrize(
    'family', sorted({evidence.STUDIES[name].family
                      for name in FOUND}))
def test_pages_show_the_results(family):
    page = ROOT / f'configs/{family}/README.md'
    assert read_block(page, 'evidence') == evidence.block(
        evidence.found_for(family))
    for suffix in ('', '_dark'):
        picture = page.with_name(f'evidence{suffix}.png')
        assert picture.stat().st_size < 100_000


def test_result_on_a_page(tmp_path, monkeypatch):
    """A loss that is better, one within the noise, and one that failed."""
    values = dict(
        stock=[0.5, 0.52, 0.51, 0.49, 0.5],
        CIoULoss=[0.6, 0.62, 0.612, 0.59, 0.601],
        L1Loss=[0.51, 0.51, 0.52, 0.48, 0.51])
    board = dict(
        metric='mIoU',
        failures=['SIoULoss, seed 0: it was killed'],
        losses=[
            dict(
                loss=name,
                values=dict(enumerate(each)),
                milliseconds=7.25,
                curves={}) for name, each in values.items()
        ] + [dict(loss='SIoULoss', values={}, milliseconds=None)])
    monkeypatch.setattr(evidence, 'results_of',
                        lambda name: tmp_path / f'{name}.json')
    kept = dict(evidence.kept(board), minutes=3)
    (tmp_path / 'boxes.json').write_text(json.dumps(kept))
    result = evidence.Results('boxes')
    text = result.text()
    assert ('Better than `GIoULoss`: `CIoULoss`. The other 1 is within the '
            'noise. Failed: `SIoULoss`.') in text
    best, = [x for x in text.splitlines() if x.startswith('| `CIoULoss`')]
    shift = [y - x for x, y in zip(values['stock'], values['CIoULoss'])]
    half = 2.776 * statistics.stdev(shift) / math.sqrt(5)
    assert f'| {statistics.fmean(values["CIoULoss"]):.4f} |' in best
    assert f'| {statistics.fmean(shift):+.4f} ± {half:.4f} | better |' in best
    assert '| `GIoULoss` | 0.5040 |' in text and '; 3 CPU minutes' in text
    figure = evidence.draw([result], evidence.THEMES[0])
    axes, = figure.axes
    assert [x.get_text() for x in axes.get_yticklabels()
            ] == ['SIoULoss', 'L1Loss', 'CIoULoss']
