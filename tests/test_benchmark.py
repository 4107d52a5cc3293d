"""The benchmark, on inputs so small that nothing is to be learnt from them."""
import json
import subprocess
import sys

import pytest
import torch
from helpers import ROOT

from mmlosses.registry import MODELS

sys.path.insert(0, str(ROOT / 'tools'))
import benchmark  # noqa: E402
import many_classes  # noqa: E402
from benchmark_rows import ROWS, Call, stock  # noqa: E402

sys.path.remove(str(ROOT / 'tools'))


def contest(row):
    torch.manual_seed(0)
    return row.make(**row.small)


def test_every_loss_has_a_row():
    MODELS.import_from_location()
    classes = {loss.__name__ for loss in MODELS.module_dict.values()}
    assert classes == {row.loss for row in ROWS}
    assert len({row.name for row in ROWS}) == len(ROWS)


def leaves(call):
    return benchmark.parameters(call())


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.name)
def test_peers_do_the_same(row):
    """Else it would not be fair: the same number, of as many numbers."""
    calls = contest(row)
    ours = calls.ours()
    sizes = sorted(x.numel() for x in leaves(calls.ours))
    assert calls.peers and sizes
    for name, peer in calls.peers.items():
        if peer.function is None:
            continue
        assert sorted(x.numel() for x in leaves(peer)) == sizes
        if not peer.differs:
            # They add eps in different places.
            torch.testing.assert_close(peer(), ours, rtol=2e-4, atol=1e-6)
    if calls.limit is not None:
        assert leaves(calls.limit)


def test_leaves_are_what_the_gradient_is_of():
    one, two = torch.ones(2, requires_grad=True), torch.ones(2)
    linear = torch.nn.Linear(2, 1)
    found = benchmark.parameters((linear(one + two) * one).sum())
    assert {id(x)
            for x in found
            } == {id(x)
                  for x in (one, linear.weight, linear.bias)}


def test_bytes_count_a_storage_once():
    x = torch.ones(100, requires_grad=True)
    y = torch.ones(100)
    # Keeps x and y.
    assert benchmark.saved_bytes(Call(lambda x, y: (x * y).sum(), x,
                                      y)) == (0, 400)
    # Keeps nothing.
    assert benchmark.saved_bytes(Call(lambda x: (x + 1).sum(), x)) == (0, 0)

    def views(x):
        new = x.exp()  # kept by exp, and by either product
        return (new[:50] * new[50:]).sum() + (new * new).sum()

    assert benchmark.saved_bytes(Call(views, x)) == (400, 400)

    def within(x):
        """Differentiates in its forward pass, which keeps nothing."""
        z = x.detach().requires_grad_()
        slope, = torch.autograd.grad((z.exp() * z.sin()).sum(), z)
        return (x * slope).sum()

    assert benchmark.saved_bytes(Call(within, x))[0] == 400
    linear = torch.nn.Linear(100, 1)
    assert benchmark.saved_bytes(Call(linear, x))[0] == 0


def test_ratio_is_of_the_same_round():
    """A machine that becomes slower does not change it."""
    assert benchmark.ratio([1., 2., 8.], [2., 4., 16.]) == [0.5, 0.5, 0.5]
    assert benchmark.ratio([3.], [2.]) == [1.5] * 3


def test_page_has_all_rows_and_keeps_what_was_measured(tmp_path, monkeypatch):
    # It cannot be undone, and other tests need the memory.
    monkeypatch.setattr(benchmark, 'keep_memory', lambda: None)

    def run(*args):
        monkeypatch.setattr(
            sys, 'argv',
            ['benchmark', '--small', '--rounds', '2', '--threads', '1'] +
            ['--out', str(tmp_path), *args])
        threads = torch.get_num_threads()
        try:
            benchmark.main()
        finally:
            torch.set_num_threads(threads)
        return (tmp_path / 'README.md').read_text()

    (tmp_path / 'README.md').write_text('before\n')
    page = run()
    assert page.startswith('before\n')
    for row in ROWS:
        assert page.count(f'\n| `{row.name}` | small |') == 1
    assert 'Geometric mean' in page and '1 thread, torch' in page
    assert (tmp_path / 'ratios.png').stat().st_size > 10_000
    before = json.loads((tmp_path / 'results.json').read_text())
    run('DiceLoss')
    after = json.loads((tmp_path / 'results.json').read_text())
    assert after.pop('DiceLoss') != before.pop('DiceLoss')
    assert after == before


def test_missing_peer_is_a_note(tmp_path, monkeypatch, capsys):
    row = next(row for row in ROWS if row.loss == 'SIoULoss')
    calls = contest(row)
    calls.peers['mmdet'] = Call(None)
    result = benchmark.run(calls, 2, False)
    result.update(on='a machine', size='small')
    assert result['missing'] == ['mmdet']
    assert benchmark.best_peer(result) is None
    page = benchmark.table({row.name: result})
    assert 'no peer here' in page
    assert '`SIoULoss` was measured without mmdet.' in page
    assert stock('a_package_that_is_not_there.SIoULoss') is None


def test_unknown_row_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['benchmark', 'KLDiscreteLoss'])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert 'KLDiscretLoss' in capsys.readouterr().err


@pytest.mark.slow
def test_page_of_many_classes(tmp_path):
    """Tiny sizes, but real processes."""
    command = [sys.executable, ROOT / 'tools/many_classes.py']
    subprocess.run([*command, '--small', '--rounds', '1', '--out', tmp_path],
                   check=True)
    page = (tmp_path / 'README.md').read_text()
    for line in many_classes.lines():
        classes, ranks = line['classes'] // 1000, line.get('ranks', 1)
        assert f'| {classes:,} | {ranks} | ' in page
    assert 'of the memory and' not in page  # tiny sizes prove nothing
