"""The generated lists and pages."""
import importlib.util
import json
import re
import sys

import pytest
from helpers import ROOT

from mmlosses import losses
from mmlosses.checks.names import faults
from mmlosses.commands import list_losses
from mmlosses.registry import MODELS

sys.path.insert(0, str(ROOT / 'tools/dev'))
import family_pages  # noqa: E402
from benchmarks.rows import ROWS  # noqa: E402

CATALOGUE = list_losses.catalogue()


def test_every_loss_is_in_the_catalogue():
    names = {kind.__name__ for kind in CATALOGUE}.union(*CATALOGUE.values())
    assert names == {
        name
        for name, kind in MODELS.module_dict.items()
        if kind.__module__.startswith('mmlosses.')
    }
    assert CATALOGUE[losses.MSELoss] == ['L2Loss']


@pytest.mark.parametrize('loss', CATALOGUE, ids=lambda loss: loss.__name__)
def test_metadata(loss):
    info = vars(loss)['info']  # its own, not inherited
    assert info.purpose and info.slots
    assert info.expects in ('boxes', 'pixel boxes', 'rotated boxes',
                            '3D boxes', 'points', 'scores', 'logits',
                            'probabilities', 'numbers', 'vectors', 'features',
                            'scaled cosines', 'tags', 'bins', 'mixture', 'any')
    assert info.paper or info.source
    if info.paper is not None:
        assert 1980 < info.paper.year < 2100 and info.paper.title
        assert not info.paper.arxiv or re.fullmatch(r'\d{4}\.\d{4,5}',
                                                    info.paper.arxiv)


def test_loss_without_family_is_an_error():
    kind = type('NewLoss', (), dict(__module__='mmlosses.losses.new'))
    with pytest.raises(ValueError, match='losses.new belongs to no family'):
        list_losses.family_of(kind)


def test_pages_are_up_to_date(capsys):
    try:
        family_pages.main(['--check'])
    except SystemExit:
        pytest.fail('run python tools/dev/family_pages.py, which writes ' +
                    ', '.join(capsys.readouterr().out.split()))


@pytest.mark.parametrize('loss', CATALOGUE, ids=lambda loss: loss.__name__)
def test_every_loss_has_a_page_and_a_config(loss):
    folder = ROOT / 'configs' / list_losses.family_of(loss)
    page = (folder / 'README.md').read_text()
    assert f'### {loss.__name__}\n' in page
    for name in ('curves', 'curves_dark', 'card', 'card_dark'):
        assert f'{name}.png' in page or 'card' in name
        assert (folder / f'{name}.png').is_file()
    # Of a project that cannot be installed beside mmdet and mmpose.
    shown = family_pages.shown_for(loss)
    # mmpose's PoseLifter passes no targets to the slot of the first, its
    # AssociativeEmbeddingHead builds the second by itself, no head of mmseg
    # has a teacher for the third, and mmdet3d's MonoFlexHead does not run.
    if loss in (losses.SemiSupervisionLoss, losses.CombinedLoss,
                losses.KLDivLoss, losses.MultiBinLoss):
        shown = True
    assert shown or family_pages.used_in(loss), 'no config has it'


def test_families_have_hand_written_parts():
    """When to use, when not, a config, and the elements of `none`."""
    for family in losses.FAMILIES:
        page = (ROOT / 'configs' / family / 'README.md').read_text()
        for part in ('```python', '_base_', "`reduction='none'` returns",
                     '## The losses', '**Arguments**', '**Shapes**',
                     '**Slots**'):
            assert part in page, f'{family}: {part}'


@pytest.mark.parametrize('text, expected', [
    (':math:`\\theta` is ``x``', '$`\\theta`$ is `x`'),
    ('.. math::\n    a\n    b\n\nrest', '```math\na\nb\n```\n\nrest'),
    ('see :class:`ArcFaceLoss`',
     'see [`ArcFaceLoss`](../../mmlosses/losses/margin.py)'),
    ('see :meth:`torch.nn.Module.train`', 'see `torch.nn.Module.train`'),
    ('`arXiv:1\n<https://x.y/1>`_, page 2',
     '[arXiv:1](https://x.y/1), page 2'),
])
def test_markdown_of_docstrings(text, expected):
    assert family_pages.to_markdown(text) == expected


def test_bibtex():
    entry = family_pages.bibtex(losses.FocalLoss.info.paper)
    assert entry.startswith('@inproceedings{lin2017focal,\n')
    assert 'author = {Tsung-Yi Lin and Priya Goyal and Ross' in entry
    assert 'journal = {arXiv:2307.07662}' in family_pages.bibtex(
        losses.MPDIoULoss.info.paper)


def test_list_of_all_losses(capsys):
    list_losses.main(['--json'])
    rows = json.loads(capsys.readouterr().out)
    assert {row['name'] for row in rows} == {x.__name__ for x in CATALOGUE}
    for row in rows:
        assert row['for'] and row['slots'] and row['call'][0] == '('
        assert '`' not in row['slots'] and (ROOT / row['page']).is_file()
    measured = {row['name'] for row in rows if row['compiled']}
    assert measured == {row.loss for row in ROWS if row.name == row.loss}


@pytest.mark.parametrize('words, found', [
    (['rtmpose'], {'KLDiscretLoss'}),
    (['ArcMarginProduct'], {'ArcFaceLoss'}),
    (['tiny'], {'NWDLoss'}),
    (['far'], {
        'EIoULoss', 'ExtendedIoULoss', 'GDLoss', 'MPDIoULoss',
        'RotatedGIoULoss', 'WIoULoss'
    }),
    (['thin'], {'ShapeIoULoss', 'ClDiceLoss'}),
    (['wrong'], {'LabelSmoothLoss', 'WIoULoss'}),
    (['mpdiou', '--family', 'boxes'], {'MPDIoULoss'}),
    (['keypointmse'], {'KeypointMSELoss'}),
    (['RLELoss'], {'RLELoss'}),
])
def test_list_by_keywords(words, found, capsys):
    list_losses.main(words)
    names = {
        line.partition(',')[0].replace('mmlosses.', '')
        for line in capsys.readouterr().out.splitlines()
        if line.startswith('mmlosses.')
    }
    assert names == found


def test_keypoint_finds_what_learns_keypoints(capsys):
    list_losses.main(['keypoint', '--short'])
    lines = capsys.readouterr().out.splitlines()
    names = {line.partition(':')[0] for line in lines}
    assert len(names) == len(lines)  # one line a loss
    assert {
        f'mmlosses.{name}'
        for name in ('KLDiscretLoss', 'KeypointMSELoss', 'GaussianFocalLoss',
                     'KeypointPROPELLoss')
    } <= names
    assert 'mmlosses.KeypointMSELoss: heatmaps of keypoints' in lines


def test_faults_are_those_of_the_page():
    assert 'distance cost of the wrong sign' in faults('SIoULoss', 'mmdet')
    assert not faults('SIoULoss', 'mmpose') and not faults('IoU', 'mmdet')
    page = (ROOT / 'configs/differs_from_upstream.md').read_text()
    number = sum(
        len(faults(name, 'mmdet')) for name in
        {name
         for name in re.findall(r'^\| `(\w+)` ', page, re.MULTILINE)})
    assert f'mmdet 3.3.0 ({number})' in page


@pytest.mark.parametrize('words, message', [
    (['GIoULosss'], 'no loss has GIoULosss; did you mean GIoULoss?'),
    (['heatmap', '--family', 'boxes'], 'no loss of the family boxes has heat'),
    (['--family', 'boxs'], 'boxs is none of the families boxes, '),
])
def test_empty_list_suggests_names(words, message):
    with pytest.raises(SystemExit, match=re.escape(f'error: {message}')):
        list_losses.main(words)


def test_mim_reads_the_index():
    load = pytest.importorskip(
        'modelindex.load_model_index', reason='needs model-index').load
    index = load(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    configs = {str(model.config) for model in index.models}
    assert configs == {
        str(path.relative_to(ROOT))
        for folder in ('digits', 'mmdet', 'mmpose')
        for path in (ROOT / 'configs' / folder).glob('[!_]*.py')
    }
    reached = {
        model.name: model.results[0].metrics
        for model in index.models if model.results
    }
    table = (ROOT / 'configs/digits/README.md').read_text()
    assert f'| {reached["simcc_kl"]["PCK"]:.4f} |' in table


def test_package_includes_configs_and_tools():
    """In the package folder .mim, where mim expects them."""
    folder = ROOT / 'mmlosses/.mim'
    assert (folder /
            'model-index.yml').read_text() == (ROOT /
                                               'model-index.yml').read_text()
    assert (folder / 'configs/digits/simcc_kl.py').is_file()
    assert (folder / 'tools/check_config.py').is_file()


@pytest.mark.parametrize('words, code, part', [
    ([], 0, 'list_losses    find a loss by a word'),
    (['--help'], 0, '.mim/configs'),
    (['list_losses', 'tiny', '--json'], None, '"name": "NWDLoss"'),
    (['check_confg'], 'error: check_confg is none of the tools', ''),
])
def test_package_runs_its_tools(words, code, part, monkeypatch, capsys):
    import mmlosses.__main__ as package
    monkeypatch.setattr(sys, 'argv', ['mmlosses', *words])
    monkeypatch.setattr(sys, 'path', sys.path.copy())
    if isinstance(code, str):
        with pytest.raises(SystemExit, match=code):
            package.main()
    else:
        package.main()
    assert part in capsys.readouterr().out


SPEC = importlib.util.spec_from_file_location(
    'build_site', str(ROOT / 'tools/dev/build_site.py'))
build_site = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build_site)


def test_dead_links_are_found(tmp_path):
    (tmp_path / 'a.html').write_text(
        '<h1 id="top-1">A</h1><a href="#top-1"></a><a href="b.html#x"></a>'
        '<a href="b.html#y"></a><img src="no.png"><a href="c.html"></a>'
        '<source srcset="dark.png"><a href="https://example.org/"></a>')
    (tmp_path / 'b.html').write_text('<p id="x"></p>')
    dead = sorted(build_site.dead_links(tmp_path))
    assert dead == [
        f'a.html: {address} leads nowhere'
        for address in ('b.html#y', 'c.html', 'dark.png', 'no.png')
    ]


def test_public_names():
    names = dict(build_site.public_names())
    assert 'mmlosses.losses.FocalLoss' in names
    assert 'mmlosses.losses.BaseLoss.elementwise' in names
    assert 'mmlosses.registry.MODELS' in names
    assert 'mmlosses.hooks.CurvesHook' in names
    assert 'mmlosses.testing.LossCase' in names
    assert not any('._' in name for name in names)
