"""The guides of configs/guides: their code runs, their tables are right."""
import doctest
import re
import subprocess
import sys

import pytest
import torch
from helpers import ROOT

from mmlosses.registry import MODELS

GUIDES = ROOT / 'configs/guides'


def blocks(page, language):
    text = (GUIDES / page).read_text()
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.M | re.S)


def test_error_messages():
    """Each block continues the previous one."""
    session = '\n'.join(blocks('errors.md', 'pycon'))
    example = doctest.DocTestParser().get_doctest(session, {}, 'errors.md',
                                                  None, 0)
    # From Python 3.10 on, a message names the class before __init__.
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS
                                   | doctest.NORMALIZE_WHITESPACE)
    report = []
    runner.run(example, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, ''.join(report)
    assert len(example.examples) >= 20


def test_bare_name_is_not_found():
    with pytest.raises(KeyError):
        MODELS.parent.build(dict(type='AlphaIoULoss'))


@pytest.mark.slow
def test_own_loss_passes_the_contract(tmp_path):
    """The files of the guide in a project of their own, under pytest."""
    loss, config, box_loss, test = blocks('your_own_loss.md', 'python')
    (tmp_path / 'my_project').mkdir()
    (tmp_path / 'my_project/__init__.py').touch()
    (tmp_path / 'my_project/losses.py').write_text(loss)
    (tmp_path / 'my_project/boxes.py').write_text(box_loss)
    (tmp_path / 'test_log_cosh.py').write_text(test)
    # Without its base, which needs mmdet.
    (tmp_path / 'config.py').write_text(config.partition('\n')[2])
    (tmp_path / 'test_config.py').write_text("""
import torch
from mmengine.config import Config
from mmengine.registry import MODELS


def test_config():
    cfg = Config.fromfile('config.py')
    cfg.model.bbox_head.loss_bbox.pop('_delete_')
    loss = MODELS.build(cfg.model.bbox_head.loss_bbox)
    assert type(loss).__name__ == 'LogCoshLoss' and loss.scale == 0.5
    error = torch.tensor([2.0])
    expected = 0.25 * torch.log(torch.cosh(error / 0.5))
    torch.testing.assert_close(loss(error, torch.zeros(1)), expected[0])


def test_boxes():
    from my_project.boxes import NearIoULoss
    pred = torch.tensor([[0.0, 0.0, 4.0, 2.0]])
    target = torch.tensor([[2.0, 0.0, 6.0, 2.0]])
    # IoU 4 / 12, the centres half a width apart.
    expected = torch.tensor(1 - 4 / 12 + 0.25)
    torch.testing.assert_close(NearIoULoss()(pred, target), expected)
""")
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        cwd=str(tmp_path))
    assert done.returncode == 0, done.stdout
    passed = int(re.search(r'(\d+) passed', done.stdout)[1])
    assert passed > 19, done.stdout


# The table of from_stock.md: stock config, changes of ours, inputs of both.
N = 6


def boxes():
    corner = 50 * torch.rand(N, 2)
    return torch.cat([corner, corner + 5 + 20 * torch.rand(N, 2)], dim=1)


def heatmaps():
    target = torch.rand(N, 3, 8, 8)
    target[:, :, 4, 4] = 1
    return torch.rand(N, 3, 8, 8) * 0.9 + 0.05, target


def numbers():
    return torch.randn(N, 4), torch.randn(N, 4)


def classes():
    return torch.randn(N, 5), torch.randint(5, (N, ))


def bins():
    return tuple([
        (torch.randn(N, 3, 16), torch.randn(N, 3, 20)),
        (torch.rand(N, 3, 16), torch.rand(N, 3, 20)),
        torch.ones(N, 3),
    ])


SAME = [
    ('mmdet.L1Loss', {}, {}, numbers),
    ('mmdet.SmoothL1Loss', dict(beta=0.5), {}, numbers),
    ('mmdet.MSELoss', {}, {}, numbers),
    ('mmdet.IoULoss', {}, {}, lambda: (boxes(), boxes())),
    ('mmdet.GIoULoss', {}, {}, lambda: (boxes(), boxes())),
    ('mmdet.DIoULoss', {}, {}, lambda: (boxes(), boxes())),
    ('mmdet.CIoULoss', {}, {}, lambda: (boxes(), boxes())),
    ('mmdet.FocalLoss', dict(use_sigmoid=True), {}, classes),
    ('mmdet.CrossEntropyLoss', {}, {}, classes),
    ('mmdet.GaussianFocalLoss', {}, {}, heatmaps),
    ('mmdet.DiceLoss', dict(loss_weight=3.0), {}, lambda:
     (torch.randn(N, 900), torch.randint(2, (N, 900)).float())),
    ('mmpose.KLDiscretLoss', dict(beta=10.0, label_softmax=True),
     dict(size_average=False), bins),
    ('mmpose.KeypointMSELoss', {}, {}, heatmaps),
    ('mmpose.AdaptiveWingLoss', {}, {}, heatmaps),
    ('mmpose.FocalHeatmapLoss', {}, {}, heatmaps),
    ('mmpose.L1Loss', {}, {}, numbers),
    ('mmpose.SmoothL1Loss', {}, {}, numbers),
    ('mmpose.MSELoss', {}, {}, numbers),
    ('mmpose.BCELoss', {}, {}, lambda: (torch.randn(N, 4), torch.rand(N, 4))),
]


@pytest.mark.parametrize(
    'stock, kwargs, changes, inputs', SAME, ids=[row[0] for row in SAME])
def test_stock_values(stock, kwargs, changes, inputs):
    """The losses that the guide calls the same return the stock value."""
    pytest.importorskip(stock.partition('.')[0] + '.models')
    ours = stock.replace('mmdet', 'mmlosses').replace('mmpose', 'mmlosses')
    torch.manual_seed(0)
    inputs = inputs()
    expected = MODELS.parent.build(dict(type=stock, **kwargs))(*inputs)
    got = MODELS.build({'type': ours, **kwargs, **changes})(*inputs)
    # Dice: 2 eps over 450 pixels, times its weight.
    tolerance = 3 * 2e-3 / 450 if 'Dice' in stock else 1e-6
    torch.testing.assert_close(
        got, expected.reshape(()), rtol=1e-5, atol=tolerance)
    assert (GUIDES /
            'from_stock.md').read_text().count(f'`{stock.rpartition(".")[2]}`')
