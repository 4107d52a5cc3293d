"""Projects that cannot be imported, and the tables of all stock configs."""
import inspect
import sys

import pages
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmlosses.checks.swaps import find_swaps

try:
    import stock_configs
except ImportError as error:
    pytest.skip(f'needs mmengine 0.8: {error}', allow_module_level=True)

PROJECT = 'project_of_a_test'
LOSSES = '''
import nothing_here

@MODELS.register_module()
class SmoothL1Loss(nn.Module):

    def __init__(self, beta=0.5, reduction: str = 'mean', extra=EXTRA):
        pass

class Helper:
    pass
'''


@pytest.fixture
def wheel(tmp_path):
    """A package with one loss and two configs, of which one has no base."""
    (tmp_path / 'models/losses').mkdir(parents=True)
    (tmp_path / 'models/losses/smooth.py').write_text(LOSSES)
    (tmp_path / 'version.py').write_text("__version__ = '1.2'\n")
    configs = tmp_path / '.mim/configs'
    configs.mkdir(parents=True)
    (configs / 'one.py').write_text(
        f"default_scope = '{PROJECT}'\n"
        "custom_imports = dict(imports=['nothing_here'])\n"
        "model = dict(head=dict(loss=dict(type='SmoothL1Loss')))\n")
    (configs / 'two.py').write_text("_base_ = 'not_there.py'\n")
    stock_configs.register_stand_ins(PROJECT, tmp_path)
    # Entered and left here, so that other tests keep their scope.
    with DefaultScope.overwrite_default_scope(PROJECT):
        yield tmp_path
    MODELS.children.pop(PROJECT)


def test_stand_ins_have_names_and_arguments(wheel):
    registry = MODELS.children[PROJECT]
    assert list(registry.module_dict) == ['SmoothL1Loss']
    parameters = inspect.signature(registry.get('SmoothL1Loss')).parameters
    assert {
        x.name: x.default
        for x in parameters.values()
    } == dict(
        beta=0.5, reduction='mean', extra=None)
    assert stock_configs.version_of(wheel) == '1.2'


def test_defaults_of_a_stand_in_are_kept(wheel):
    found, = find_swaps(
        Config(dict(model=dict(loss=dict(type='SmoothL1Loss')))))
    assert found.stock == f'{PROJECT}.SmoothL1Loss'
    assert found.settings == dict(beta=0.5)


def test_configs_of_a_wheel_are_read(wheel, monkeypatch, capsys):
    monkeypatch.setattr(stock_configs, 'init_default_scope', lambda _: None)
    entry, = stock_configs.read(PROJECT, wheel)
    assert entry.path.name == 'one.py'
    assert 'two.py cannot be read' in capsys.readouterr().out
    count, failed = stock_configs.build_all([entry])
    assert dict(count) == dict(configs=1, whole=1, losses=1, built=1)
    assert not failed


def test_folder_without_losses_is_refused(tmp_path):
    with pytest.raises(ValueError, match='no models/losses'):
        stock_configs.register_stand_ins('nothing', tmp_path)


def test_tables_keep_the_other_projects(tmp_path, monkeypatch):
    page = tmp_path / 'page.md'
    monkeypatch.setattr(stock_configs, 'PAGE', page)
    monkeypatch.setattr(stock_configs, 'ROOT', tmp_path)
    count = dict(configs=3, whole=2, losses=5, built=4)
    count = stock_configs.Counter(count)
    failed = stock_configs.Counter({('mmyolo.OksLoss', 'why | not'): 1})
    verdicts = {'mmdet::a.py': ('agrees', 0), 'mmdet::b.py': ('differs', 1)}
    stock_configs.write_page('mmyolo', '0.6', count, failed, {})
    stock_configs.write_page('mmdet', '3.3', count, failed, verdicts)
    # Without a comparison, that of before stays.
    stock_configs.write_page('mmdet', '3.4', count, failed, {})
    rows = pages.read_block(page, 'stock configs').split('\n')[2:]
    assert rows == [
        '| mmdet | 3.4 | 3 | 2 | 5 | 4 | 2 | 1 | 1 | 0 |',
        '| mmyolo | 0.6 | 3 | 2 | 5 | 4 | - | - | - | - |'
    ]
    assert pages.read_block(page, 'left').split('\n')[2:] == [
        rf'| {project} | `mmyolo.OksLoss` | 1 | why \| not |'
        for project in ('mmdet', 'mmyolo')
    ]
    assert '`mmdet::b.py` | differs' in pages.read_block(page, 'differ')
    short = pages.read_block(tmp_path / 'README.md', 'stock projects')
    assert short.split('\n')[2:] == [
        '| mmdet 3.4 | 3 | 2 | 1 of 2 |', '| mmyolo 0.6 | 3 | 2 | - |'
    ]


def test_wheel_without_a_row_lends_its_losses(wheel, tmp_path, monkeypatch):
    """As mmrazor, whose losses the configs of mmyolo name."""
    written = []
    monkeypatch.setattr(stock_configs, 'write_page',
                        lambda project, *_: written.append(project))
    monkeypatch.setattr(stock_configs, 'register_stand_ins',
                        lambda project, _: written.append(f'{project} lent'))
    record = tmp_path / 'record.json'
    monkeypatch.setattr(sys, 'argv', [
        'stock_configs.py', f'--wheel={PROJECT}={wheel}', '--record',
        str(record)
    ])
    stock_configs.main()
    assert written == [f'{PROJECT} lent']
