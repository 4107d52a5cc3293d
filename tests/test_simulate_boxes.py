"""The simulation behind the page of the box losses, in short."""
import sys

import simulate_boxes as tool
import torch

from mmlosses.losses import EIoULoss, IoULoss


def test_cases_are_those_of_the_paper():
    anchors, targets = tool.cases(5)
    assert len(anchors) == len(targets) == 5 * 49 * 7
    torch.testing.assert_close(targets[:, 2:].prod(dim=1),
                               torch.ones(len(targets)))
    assert (targets[:, :2] == 10).all()
    reach = (anchors[:, :2] - 10).norm(dim=1)
    assert reach.max() <= 3 and len(reach.unique()) == 5
    assert len(anchors[:, 2:].unique(dim=0)) == 49


def test_descent_reaches_the_targets():
    anchors, targets = tool.cases(2)
    result = tool.simulate(EIoULoss(), anchors, targets)
    assert result.errors[-1] < 0.01 * result.errors[0]
    assert result.far > 0.99 and result.broken == 0
    # Without an overlap, the plain IoU moves nothing.
    assert tool.simulate(IoULoss('linear'), anchors, targets).far == 0


def test_page_keeps_what_is_around_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, 'ITERATIONS', 4)
    monkeypatch.setattr(tool, 'has_mmdet', lambda: False)
    monkeypatch.setattr(
        sys, 'argv',
        ['simulate_boxes', '--points', '1', '--out',
         str(tmp_path)])
    page = tmp_path / 'README.md'
    page.write_text('before\n<!-- simulation -->\nold\n'
                    '<!-- end of simulation -->\nafter\n')
    tool.main()
    first = page.read_text()
    assert first.startswith('before\n') and first.endswith('\nafter\n')
    assert 'old' not in first and first.count('\n| WIoU v3 |') == 1
    tool.main()
    assert page.read_text() == first
    assert (tmp_path / 'regression.png').stat().st_size > 10_000
