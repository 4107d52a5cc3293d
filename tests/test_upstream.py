"""The page "Differs from upstream": every fault, and what is right."""
import re
import sys

import pytest
import torch
from helpers import ROOT

pytestmark = pytest.mark.openmmlab

try:
    import upstream_faults as tool
    FAULTS = tool.load()
except (ImportError, AssertionError) as error:  # mmdet asserts its mmcv.
    pytest.skip(f'needs the stock losses: {error}', allow_module_level=True)

PAGE = tool.PAGE.read_text()


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: fault.name)
def test_fault(fault):
    """Ours is right, and stock is still wrong."""
    stock, ours, right = tool.run(fault)
    assert tool.is_right(ours, right), (ours, right)
    assert not tool.is_right(stock, right), f'mended upstream: {stock}'


def test_page_is_what_the_tool_writes(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'page.md'
    monkeypatch.setattr(sys, 'argv', ['upstream_faults', '--out', str(out)])
    tool.main()
    assert capsys.readouterr().out == f'{out}\n'
    assert out.read_text() == PAGE, 'run tools/dev/upstream_faults.py'


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: fault.name)
def test_names_of_an_entry_are_there(fault):
    from mmlosses.registry import MODELS
    assert MODELS.get(fault.loss) is not None
    for name in fault.tests:
        file, _, test = name.partition('::')
        assert f'\ndef {test}(' in (ROOT / 'tests' / file).read_text()


def test_links_of_the_page_lead_somewhere():
    links = re.findall(r'\]\(#(\w+)\)', PAGE)
    assert links == [fault.name for fault in FAULTS]
    assert links == re.findall('<a id="(.*)"></a>', PAGE)


def test_snippets_of_the_page_run():
    """They need only what the page shows, and set the values of the page."""
    shared, *families = re.split('^## ', PAGE, flags=re.MULTILINE)[1:]
    shared, = snippets(shared)
    shown = 0
    for family in families:
        helpers, *entries = snippets(family)
        rows = re.findall(r'^\| --- \| --- \| --- \|\n\| (.*) \|$', family,
                          re.MULTILINE)
        assert len(rows) == len(entries)
        for code, row in zip(entries, rows):
            if 'subprocess' in code:
                continue  # `test_fault` has run it, which takes its time.
            namespace = {}
            exec('\n'.join([shared, helpers, code]), namespace)
            values = [namespace[name] for name in ('stock', 'ours', 'right')]
            assert ' | '.join([tool.show(value) for value in values]) == row
            shown += 1
    assert shown == len(FAULTS) - 1


def snippets(text):
    return re.findall('^```py\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize('value, right, expected', [
    (torch.tensor(1.00001), 1.0, True),
    (torch.tensor(1.01), 1.0, False),
    (torch.tensor(float('nan')), 0.0, False),
    (torch.tensor(float('inf')), 0.0, False),
    ([torch.tensor(1.0), 2.0], [1.0, 2.0], True),
    ([1.0, 2.0], 1.0, False),
    (torch.zeros(2, 2), 0.0, True),
    ('IndexError', 0.0, False),
    (torch.Size([3]), (3, ), True),
    (torch.Size([]), (3, ), False),
    ('sync', 'no sync', False),
    (['no sync', 'sync'], 'no sync', False),
    (['no sync'] * 2, 'no sync', True),
])
def test_right_is_equal_up_to_rounding(value, right, expected):
    assert tool.is_right(value, right) is expected
