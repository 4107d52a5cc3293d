"""The benchmark, on inputs so small that nothing is to be learnt from them."""
import json
import subprocess
import sys

import pytest
import torch
from benchmarks import command, many_classes, report, steps
from benchmarks.measure import (LIMIT, OURS, Call, leaves_of, measure,
                                operators, peak_bytes, ratio, saved_bytes)
from benchmarks.row import default_row, find
from benchmarks.rows import ROWS, WITHOUT_ROW
from helpers import ROOT

from mmlosses.registry import MODELS


def calls_of(row):
    torch.manual_seed(0)
    return row.calls(**row.small)


def test_every_loss_has_a_row():
    MODELS.import_from_location()
    classes = {loss.__name__ for loss in MODELS.module_dict.values()}
    assert classes - set(WITHOUT_ROW) == {row.loss for row in ROWS}
    assert set(WITHOUT_ROW) < classes
    assert len({row.name for row in ROWS}) == len(ROWS)


def sizes(call):
    return sorted(x.numel() for x in leaves_of(call()))


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.name)
def test_peers_compute_the_same(row):
    """The same value, with gradients of the same sizes."""
    calls = calls_of(row)
    ours = calls[OURS]
    assert set(calls) - {OURS, LIMIT} and sizes(ours)
    for name, call in calls.items():
        if call.function is None or name == OURS:
            continue
        if name == LIMIT:
            assert sizes(call)
            continue
        assert sizes(call) == sizes(ours)
        if not row.differs:
            # They add eps in different places.
            torch.testing.assert_close(call(), ours(), rtol=2e-4, atol=1e-6)


def test_default_row_of_a_case():
    """The row of a case of the tests, beside its stock loss."""
    from cases.boxes import CASES
    case, = [case for case in CASES if case.loss.__name__ == 'DIoULoss']
    row = default_row(case, 'mmdet.DIoULoss', 100)
    assert (row.name, row.size) == ('DIoULoss', 'a batch of 100')
    calls = row.calls()
    assert set(calls) == {OURS, 'mmdet'}
    pred, target = calls[OURS].args
    assert len(pred) == 100 and pred.requires_grad
    assert not target.requires_grad
    if calls['mmdet'].function is not None:
        torch.testing.assert_close(calls['mmdet'](), calls[OURS]())


def test_leaves_are_what_the_gradient_is_of():
    one, two = torch.ones(2, requires_grad=True), torch.ones(2)
    linear = torch.nn.Linear(2, 1)
    found = leaves_of((linear(one + two) * one).sum())
    assert {id(x)
            for x in found
            } == {id(x)
                  for x in (one, linear.weight, linear.bias)}


def test_bytes_count_a_storage_once():
    x = torch.ones(100, requires_grad=True)
    y = torch.ones(100)
    # Keeps x and y.
    assert saved_bytes(Call(lambda x, y: (x * y).sum(), x, y)) == (0, 400)
    # Keeps nothing.
    assert saved_bytes(Call(lambda x: (x + 1).sum(), x)) == (0, 0)

    def views(x):
        new = x.exp()  # kept by exp, and by either product
        return (new[:50] * new[50:]).sum() + (new * new).sum()

    assert saved_bytes(Call(views, x)) == (400, 400)

    def within(x):
        """Differentiates in its forward pass, which keeps nothing."""
        z = x.detach().requires_grad_()
        slope, = torch.autograd.grad((z.exp() * z.sin()).sum(), z)
        return (x * slope).sum()

    assert saved_bytes(Call(within, x))[0] == 400
    linear = torch.nn.Linear(100, 1)
    assert saved_bytes(Call(linear, x))[0] == 0


def test_peak_of_a_step():
    """Also where the step before has left a gradient."""
    x = torch.ones(100_000, requires_grad=True)
    call = Call(lambda x: (x.exp() * x.sin()).sum(), x)
    first = peak_bytes(call)
    call.step([x])
    assert peak_bytes(call) == first
    # Four results of the forward pass and the gradient at least.
    assert 4 * x.nbytes <= first <= 8 * x.nbytes


def test_operators_of_a_step():
    """Those of both passes, with the time in each of them."""
    x = torch.ones(100_000, requires_grad=True)
    taken = operators(Call(lambda x: (x.exp() * x).sum(), x))
    assert {'aten::exp', 'aten::mul', 'aten::sum'} < set(taken)
    assert list(taken.values()) == sorted(taken.values(), reverse=True)
    assert taken['aten::exp'] > 0


def test_profile_names_operators_of_all_contestants(monkeypatch, capsys):
    monkeypatch.setattr(command, 'keep_memory', lambda: None)
    monkeypatch.setattr(sys, 'argv',
                        ['benchmark', 'KLDivLoss', '--small', '--profile'])
    threads = torch.get_num_threads()
    try:
        command.main()
    finally:
        torch.set_num_threads(threads)
    shown = capsys.readouterr().out
    for name in (OURS, 'plain PyTorch'):
        assert f'KLDivLoss, {name}: ' in shown
    assert 'aten::_log_softmax' in shown


def test_ratio_is_of_the_same_round():
    """A machine that becomes slower does not change it."""
    assert ratio([1., 2., 8.], [2., 4., 16.]) == [0.5, 0.5, 0.5]
    assert ratio([3.], [2.]) == [1.5] * 3


@pytest.mark.slow
def test_page_has_all_rows_and_keeps_what_was_measured(tmp_path, monkeypatch):
    # It cannot be undone, and other tests need the memory.
    monkeypatch.setattr(command, 'keep_memory', lambda: None)

    def run(*args):
        monkeypatch.setattr(
            sys, 'argv',
            ['benchmark', '--small', '--rounds', '2', '--threads', '1'] +
            ['--out', str(tmp_path), *args])
        threads = torch.get_num_threads()
        try:
            command.main()
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


def test_missing_peer_is_noted():
    row = next(row for row in ROWS if row.loss == 'SIoULoss')
    calls = calls_of(row)
    calls['mmdet'] = Call(None)
    result = measure(calls, 2)
    result.update(on='a machine', size='small')
    assert result['missing'] == ['mmdet']
    assert report.best_peer(result) is None
    page = report.table({row.name: result})
    assert 'no peer here' in page
    assert '`SIoULoss` was measured without mmdet.' in page
    assert find('a_package_that_is_not_there.SIoULoss') is None


def test_every_row_is_on_the_page():
    page = (ROOT / 'configs/benchmark/README.md').read_text()
    missing = [row.name for row in ROWS if f'\n| `{row.name}` |' not in page]
    assert not missing, f'run python tools/benchmark.py {" ".join(missing)}'


def test_unknown_row_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['benchmark', 'KLDiscreteLoss'])
    with pytest.raises(SystemExit):
        command.main()
    assert 'KLDiscretLoss' in capsys.readouterr().err


@pytest.mark.slow
def test_page_of_many_classes(tmp_path):
    """Tiny sizes, but real processes."""
    subprocess.run([
        sys.executable,
        str(ROOT / 'tools/benchmark.py'), '--many-classes', '--small',
        '--rounds', '1', '--out',
        str(tmp_path)
    ],
                   check=True)
    page = (tmp_path / 'README.md').read_text()
    for line in many_classes.lines():
        classes, ranks = line['classes'] // 1000, line.get('ranks', 1)
        assert f'| {classes:,} | {ranks} | ' in page
    assert 'of the memory and' not in page  # tiny sizes prove nothing


@pytest.mark.slow
def test_losses_of_a_step(monkeypatch):
    """Both kinds are measured, and the recorded calls are those of a step."""
    pytest.importorskip('mmpose')
    monkeypatch.setattr(steps, 'MODELS', {'RTMPose': steps.MODELS['RTMPose']})
    *_, line = steps.run(1, True).splitlines()
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert cells[0] == 'RTMPose'
    assert all([0 < float(cell.strip('%')) < 100 for cell in cells[2:4]])
