"""Resolution by name, each case in a fresh interpreter."""
import ast
import subprocess
import sys
from importlib.util import resolve_name
from pathlib import Path

import pytest

import mmlosses


def run(code, *flags):
    """Run code in a fresh interpreter outside the repository."""
    return subprocess.run([sys.executable, *flags, '-c', code],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          universal_newlines=True,
                          cwd='/')


def check(code):
    done = run(code)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_resolves_without_import():
    check('''
from mmengine.registry import MODELS
loss = MODELS.build(dict(type='mmlosses.KLDiscretLoss', beta=2.0))
assert type(loss).__module__ == 'mmlosses.losses.simcc', type(loss)
assert loss.beta == 2.0
''')


@pytest.mark.slow
def test_resolves_from_another_project():
    """Within the scope and default scope of another library."""
    check('''
from mmengine.registry import DefaultScope, MODELS, Registry
theirs = Registry('model', parent=MODELS, scope='theirs')
DefaultScope.get_instance('test', scope_name='mmengine')
loss = theirs.build(dict(type='mmlosses.KLDiscretLoss'))
assert type(loss).__module__.startswith('mmlosses.')
try:
    theirs.build(dict(type='KLDiscretLoss'))
except KeyError:
    pass
else:
    raise AssertionError('a bare name must not reach into mmlosses')
''')


@pytest.mark.slow
def test_class_works_as_type():
    check('''
from mmengine.registry import MODELS
from mmlosses.losses import KLDiscretLoss
assert MODELS.build(dict(type=KLDiscretLoss, beta=2.0)).beta == 2.0
''')


@pytest.mark.slow
def test_unknown_name_is_a_key_error():
    check('''
from mmengine.registry import MODELS
try:
    MODELS.build(dict(type='mmlosses.NoSuchLoss'))
except KeyError as error:
    assert 'mmlosses.NoSuchLoss' in str(error)
else:
    raise AssertionError
''')


@pytest.mark.slow
def test_scope_and_locations():
    check('''
from mmlosses.registry import HOOKS, MODELS
from mmengine import registry
assert MODELS.scope == HOOKS.scope == 'mmlosses'
assert MODELS.parent is registry.MODELS and HOOKS.parent is registry.HOOKS
assert registry.HOOKS.get('mmlosses.CurvesHook').__name__ == 'CurvesHook'
''')


def test_package_and_registry_are_light():
    check('''
import sys
import mmlosses
assert mmlosses.__version__
assert 'torch' not in sys.modules and 'mmengine' not in sys.modules
import mmengine.registry
before = set(sys.modules)
import mmlosses.registry
new = set(sys.modules) - before
assert new == {'mmlosses.registry'}, new
''')


def test_losses_need_torch_and_mmengine_only():
    check('''
import sys
# mmengine.dist of version 0.7 imports cv2, which mmengine requires.
import torch, mmengine.dist, mmengine.registry
before = {name.split('.')[0] for name in sys.modules}
import mmlosses.losses
new = {name.split('.')[0] for name in sys.modules} - before
assert new <= {'mmlosses'}, new
''')


@pytest.mark.parametrize('module', ['mmlosses.registry', 'mmlosses.losses'])
def test_missing_mmengine_is_named(module):
    """Neither distribution is required, so the error says what to install."""
    done = run(f'''
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == 'mmengine':
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Absent())
import {module}
''')
    assert done.returncode != 0
    last = done.stdout.strip().splitlines()[-1]
    assert 'pip install mmengine' in last and 'onedl-mmengine' in last


def test_installing_requires_no_mmengine_distribution():
    """Otherwise pip would install `mmengine` over `onedl-mmengine`."""
    from importlib.metadata import requires
    hard = [line for line in requires('mmlosses') if 'extra ==' not in line]
    assert hard == ['torch>=2.0']


ROOMS = ('distributed', 'core', 'losses', 'checks', 'hooks', 'heads', 'demo',
         'testing', 'commands')


@pytest.mark.parametrize('room', ROOMS)
def test_rooms_import_in_one_direction(room):
    """No room imports, even in a function, one that comes after it."""
    root = Path(mmlosses.__file__).parent
    for file in (root / room).rglob('*.py'):
        package = '.'.join(file.parent.relative_to(root.parent).parts)
        for node in ast.walk(ast.parse(file.read_text())):
            found = [alias.name for alias in getattr(node, 'names', ())]
            if isinstance(node, ast.ImportFrom):
                name = '.' * node.level + (node.module or '')
                name = resolve_name(name, package)
                found = [f'{name}.{alias}' for alias in found]
            elif not isinstance(node, ast.Import):
                continue
            for later in ROOMS[ROOMS.index(room) + 1:]:
                prefix = f'mmlosses.{later}.'
                bad = [x for x in found if f'{x}.'.startswith(prefix)]
                assert not bad, f'{file.relative_to(root)} imports {bad}'
