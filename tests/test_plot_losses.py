"""tools/plot_losses.py: the pictures of the losses."""
import math
import runpy
import sys

import numpy as np
import pytest
import torch
from cases import CASES
from helpers import ROOT

from mmlosses.losses import BaseLoss, MSELoss
from mmlosses.registry import MODELS

Image = pytest.importorskip('PIL.Image')

FILES = ('curves.png', 'curves_dark.png', 'card.png', 'card_dark.png')
BACKGROUNDS = {
    'curves.png': (255, 255, 255),
    'card.png': (255, 255, 255),
    'curves_dark.png': (13, 17, 23),
    'card_dark.png': (13, 17, 23)
}


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(ROOT / 'tools/dev'))
    import plots
    sys.path.remove(str(ROOT / 'tools/dev'))
    return plots


@pytest.fixture(scope='module')
def drawn(tool):
    """Each family on a light page and on a dark card."""
    light, dark = tool.THEMES
    return {
        name: (tool.draw(family, light), tool.draw(family, dark, card=True))
        for name, family in tool.families().items()
    }


def lines_of(figure, panel):
    axes = figure.axes[panel]
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def test_every_loss_is_in_a_picture(tool):
    MODELS.import_from_location()
    losses = {
        loss.__name__
        for loss in MODELS.module_dict.values() if issubclass(loss, BaseLoss)
    }
    shown = map(tool.losses_of, tool.families().values())
    assert set().union(*shown) == losses and len(losses) >= 34


def test_every_family_has_a_folder(tool):
    assert {page.parent.name
            for page in ROOT.glob('configs/*/curves.png')
            } == set(tool.families())


def test_curves_are_finite_and_named(drawn):
    for figures in drawn.values():
        for axes in sum([figure.axes for figure in figures], []):
            if not axes.axison:  # the row has no more panels
                continue
            assert axes.get_title() and axes.get_xlabel()
            assert axes.get_lines()
            for line in axes.get_lines():
                assert np.isfinite(line.get_xydata()).all()
            labels = axes.get_legend_handles_labels()[1]
            assert len(set(labels)) == len(labels)


def test_each_page_has_value_and_gradient_and_each_card_one_panel(drawn):
    for page, card in drawn.values():
        titles = [axes.get_title() for axes in page.axes]
        assert any(title.startswith('loss vs. ') for title in titles)
        assert any(title.startswith('gradient vs. ') for title in titles)
        assert page.axes[0].get_legend() and card.axes[0].get_legend()
        assert len(card.axes) == 1 and len(card.axes[0].get_xticks()) <= 5


def test_value_and_gradient_of_a_curve(tool):
    axis = tool.number._replace(at=torch.tensor([-2.0, 0.5, 3.0]))
    curve = tool.Curve('MSELoss', target=1.0)
    value, gradient = [curve.compute(axis, x) for x in (False, True)]
    torch.testing.assert_close(value, torch.tensor([9.0, 0.25, 4.0]))
    torch.testing.assert_close(gradient, torch.tensor([-6.0, -1.0, 4.0]))


def test_regression_shows_the_textbook_curves(drawn):
    figure, _ = drawn['regression']
    values, gradients = lines_of(figure, 0), lines_of(figure, 1)
    for error, value in values['SmoothL1']:
        expected = 0.5 * error**2 if abs(error) <= 1 else abs(error) - 0.5
        assert value == pytest.approx(expected)
    for error, gradient in gradients['MSE']:
        assert gradient == pytest.approx(2 * error)


def test_focal_shows_the_curves_of_the_paper(drawn):
    figure, _ = drawn['focal']
    for gamma in (0, 0.5, 1, 2, 5):
        for p, value in lines_of(figure, 0)[f'γ = {gamma}'][::40]:
            assert value == pytest.approx(-(1 - p)**gamma * math.log(p))


def test_margin_shows_the_logit_of_the_true_class(drawn):
    figure, _ = drawn['margin']
    for degrees, logit in lines_of(figure, 2)['NormFace'][::40]:
        expected = 16 * math.cos(math.radians(degrees))
        assert logit == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.loss.__name__)
def test_every_loss_has_a_default_curve(tool, case):
    axis = tool.of_case._replace(at=tool.line(0, 1, 5))
    curve = tool.Curve(case.loss.__name__, **case.kwargs)
    for gradient in (False, True):
        assert curve.compute(axis, gradient).isfinite().all()


@pytest.mark.parametrize(('module', 'family', 'axis'), [
    ('mmlosses.losses.regression', 'regression', 'prediction − target'),
    ('mmlosses.losses.unheard_of.file', 'unheard_of', '0: perfect, 1: random '
     'prediction'),
])
def test_new_loss_is_drawn_without_an_entry(tool, module, family, axis,
                                            monkeypatch):

    class NewLoss(MSELoss):
        pass

    NewLoss.__module__ = module
    case = next(case for case in CASES if case.loss is MSELoss)
    monkeypatch.setitem(MODELS.module_dict, 'NewLoss', NewLoss)
    monkeypatch.setitem(tool.cases(), 'NewLoss', case)
    curves = list(tool.FAMILIES['regression'].curves)
    try:
        found = tool.families.__wrapped__()[family]
        figure = tool.draw(found, tool.THEMES[0])
    finally:
        tool.FAMILIES['regression'].curves[:] = curves
    for panel in (0, 1):
        assert 'New' in lines_of(figure, panel)
        assert figure.axes[panel].get_xlabel() == axis


def test_many_curves_are_split_into_columns(tool):
    curves = tool.sweep('SmoothL1Loss', 'β = {}', 'beta', range(20))
    rows = tool.Family(tool.number, curves).rows()
    assert [[len(panel.curves) for panel in row]
            for row in rows] == [[7, 7, 6]] * 2


def test_both_backgrounds_are_written(tool, tmp_path):
    assert tool.draw_family('cosine', tmp_path / 'cosine') == ['CCSLoss']
    files = sorted((tmp_path / 'cosine').iterdir())
    assert [file.name for file in files] == sorted(FILES)
    for file in files:
        image = Image.open(file)
        assert image.mode == 'P' and image.width > 400
        image = image.convert('RGB')
        for x, y in ((0, 0), (image.width - 1, image.height - 1)):
            assert image.getpixel((x, y)) == BACKGROUNDS[file.name]


@pytest.mark.parametrize('name', FILES)
def test_committed_pictures_are_whole(tool, name):
    for family in tool.families():
        path = ROOT / 'configs' / family / name
        assert 3_000 < path.stat().st_size < 100_000, path
        image = Image.open(path).convert('RGB')
        count, background = max(image.getcolors(2**16))
        assert background == BACKGROUNDS[name], path
        assert count < 0.97 * image.width * image.height, path


def run(tool, monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['plot_losses', *map(str, args)])
    tool.main()


def test_command_is_main(tool, monkeypatch):
    monkeypatch.setattr(sys, 'path', list(sys.path))
    command = runpy.run_path(str(ROOT / 'tools/plot_losses.py'))
    assert command['main'] is tool.main


def test_family_can_be_chosen(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, 'save', lambda figure, path, theme: None)
    run(tool, monkeypatch, '--family', 'cosine', 'focal', '--out', tmp_path)
    assert capsys.readouterr().out == (
        f'{tmp_path / "cosine"}: CCSLoss\n'
        f'{tmp_path / "focal"}: '
        'AsymmetricLoss, FocalCustomLoss, FocalLoss, '
        'SmoothFocalLoss\n')


def test_unknown_family_is_one_line(tool, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        run(tool, monkeypatch, '--family', 'cosine', 'regressions', '--out',
            tmp_path)
    assert stop.value.code == ('error: regressions is not a family of losses; '
                               'did you mean regression?')
    assert not list(tmp_path.iterdir())


def test_folder_that_is_a_file_is_one_line(tool, tmp_path, monkeypatch):
    (tmp_path / 'cosine').write_text('not a folder')
    with pytest.raises(SystemExit, match='^error: .*cosine$'):
        run(tool, monkeypatch, '--family', 'cosine', '--out', tmp_path)


def test_failure_leaves_the_picture_that_was_there(tool, tmp_path,
                                                   monkeypatch):
    old = tmp_path / 'cosine' / 'curves.png'
    old.parent.mkdir()
    old.write_bytes(b'old')

    def fill_disk(path, content):
        with open(path, 'wb') as file:
            file.write(content[:10])
        raise OSError(28, 'No space left on device', str(path))

    monkeypatch.setattr(type(old), 'write_bytes', fill_disk)
    with pytest.raises(SystemExit, match='^error: No space left on device'):
        run(tool, monkeypatch, '--family', 'cosine', '--out', tmp_path)
    assert old.read_bytes() == b'old'
    assert list(old.parent.iterdir()) == [old]
