"""tools/plot_losses.py: the pictures of the losses."""
import math
import sys

import numpy as np
import pytest
import torch
from helpers import ROOT

from mmlosses.losses import MSELoss
from mmlosses.losses.base import BaseLoss
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
    sys.path.insert(0, str(ROOT / 'tools'))
    import plot_losses
    yield plot_losses
    sys.path.remove(str(ROOT / 'tools'))


@pytest.fixture(scope='module')
def drawn(tool):
    """Each family on a light page and on a dark card."""
    light, dark = tool.THEMES
    return {
        name: (tool.draw(family, light), tool.draw(family, dark, card=True))
        for name, family in tool.FAMILIES.items()
    }


def lines_of(figure, panel):
    axes = figure.axes[panel]
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def test_every_loss_is_in_a_picture(drawn):
    MODELS.import_from_location()
    losses = {
        loss.__name__
        for loss in MODELS.module_dict.values() if issubclass(loss, BaseLoss)
    }
    shown = [page[1] | card[1] for page, card in drawn.values()]
    assert set.union(*shown) == losses and len(losses) >= 34


def test_curves_are_finite_and_named(drawn):
    for pictures in drawn.values():
        for figure, losses in pictures:
            assert losses
            for axes in figure.axes:
                assert axes.get_xlabel()
                assert axes.get_lines() or axes.collections
                for line in axes.get_lines():
                    assert np.isfinite(line.get_xydata()).all()
                for collection in axes.collections:
                    for path in collection.get_paths():
                        assert np.isfinite(path.vertices).all()
                labels = axes.get_legend_handles_labels()[1]
                assert len(set(labels)) == len(labels)


def test_each_page_has_a_value_and_each_card_one_panel(drawn):
    for (page, _), (card, _) in drawn.values():
        assert len(page.axes) >= 3 and len(card.axes) == 1
        assert any([axes.get_legend() for axes in page.axes])
        assert len(card.axes[0].get_xticks()) <= 5


def test_value_and_slope_of_a_curve(tool):
    at = torch.tensor([-2.0, 0.5, 3.0])
    loss = MSELoss(reduction='none')
    value, slope = sys.modules['plot_panels'].curve(
        lambda x: loss(x, torch.ones_like(x)), at)
    torch.testing.assert_close(value, torch.tensor([9.0, 0.25, 4.0]))
    torch.testing.assert_close(slope, torch.tensor([-6.0, -1.0, 4.0]))


def test_pictures_of_regression_are_those_of_the_textbooks(drawn):
    (figure, _), _ = drawn['regression']
    values, slopes = lines_of(figure, 0), lines_of(figure, 1)
    for error, value in values['smooth L1']:
        expected = 0.5 * error**2 if abs(error) <= 1 else abs(error) - 0.5
        assert value == pytest.approx(expected)
    for error, slope in slopes['MSE (L2)']:
        assert slope == pytest.approx(2 * error)


def test_clipped_angle_is_dead_where_ours_is_not(drawn):
    (figure, _), _ = drawn['angular']
    values, slopes = lines_of(figure, 0), lines_of(figure, 1)
    for degrees, value in values['full']:
        assert value == pytest.approx(math.radians(degrees)**1.2)
    for (degrees, ours), (_, clipped) in zip(slopes['full'],
                                             slopes['clipped acos']):
        if 91 < degrees < 179:
            assert ours > 1 and clipped == 0
        elif 1 < degrees < 89:
            assert ours == pytest.approx(clipped)


def test_focal_curves_are_those_of_the_paper(drawn):
    (figure, _), _ = drawn['focal']
    for gamma in (0, 0.5, 1, 2, 5):
        for p, value in lines_of(figure, 0)[f'γ = {gamma}'][::40]:
            assert value == pytest.approx(-(1 - p)**gamma * math.log(p))


def test_both_backgrounds_are_written(tool, tmp_path):
    assert tool.draw_family('ccs', tmp_path / 'ccs') == ['CCSLoss']
    files = sorted((tmp_path / 'ccs').iterdir())
    assert [file.name for file in files] == sorted(FILES)
    for file in files:
        image = Image.open(file)
        assert image.mode == 'P' and image.width > 400
        image = image.convert('RGB')
        for x, y in ((0, 0), (image.width - 1, image.height - 1)):
            assert image.getpixel((x, y)) == BACKGROUNDS[file.name]


@pytest.mark.parametrize('name', FILES)
def test_committed_pictures_are_whole(tool, name):
    for family in tool.FAMILIES:
        path = ROOT / 'configs' / family / name
        assert 3_000 < path.stat().st_size < 85_000, path
        image = Image.open(path).convert('RGB')
        count, background = max(image.getcolors(2**16))
        assert background == BACKGROUNDS[name], path
        assert count < 0.97 * image.width * image.height, path


def run(tool, monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['plot_losses', *map(str, args)])
    tool.main()


def test_family_can_be_chosen(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, 'save', lambda figure, path, theme: None)
    run(tool, monkeypatch, '--family', 'ccs', 'focal', '--out', tmp_path)
    assert capsys.readouterr().out == (f'{tmp_path / "ccs"}: CCSLoss\n'
                                       f'{tmp_path / "focal"}: FocalLoss\n')


def test_unknown_family_is_one_line(tool, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        run(tool, monkeypatch, '--family', 'ccs', 'regressions', '--out',
            tmp_path)
    assert stop.value.code == ('error: regressions is not a family of losses; '
                               'did you mean regression?')
    assert not list(tmp_path.iterdir())


def test_folder_that_is_a_file_is_one_line(tool, tmp_path, monkeypatch):
    (tmp_path / 'ccs').write_text('not a folder')
    with pytest.raises(SystemExit, match='^error: .*ccs$'):
        run(tool, monkeypatch, '--family', 'ccs', '--out', tmp_path)


def test_failure_leaves_the_picture_that_was_there(tool, tmp_path,
                                                   monkeypatch):
    old = tmp_path / 'ccs' / 'curves.png'
    old.parent.mkdir()
    old.write_bytes(b'old')

    def fill_disk(path, content):
        with open(path, 'wb') as file:
            file.write(content[:10])
        raise OSError(28, 'No space left on device', str(path))

    monkeypatch.setattr(type(old), 'write_bytes', fill_disk)
    with pytest.raises(SystemExit, match='^error: No space left on device'):
        run(tool, monkeypatch, '--family', 'ccs', '--out', tmp_path)
    assert old.read_bytes() == b'old'
    assert list(old.parent.iterdir()) == [old]
