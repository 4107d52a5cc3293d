"""The wheel: what it carries, and its commands."""
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from helpers import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A folder with the content of the wheel."""
    pytest.importorskip('wheel', reason='builds a wheel')
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    source.mkdir()
    for name in ('mmlosses', 'configs', 'tools'):
        shutil.copytree(str(ROOT / name), str(source / name), symlinks=True)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(str(path), str(source))
    subprocess.run([
        sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps',
        '--no-build-isolation', '-w',
        str(folder),
        str(source)
    ],
                   check=True)
    wheel, = folder.glob('*.whl')
    assert wheel.stat().st_size < 900_000
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / 'installed')
    return folder / 'installed'


def test_readme_installs_what_exists():
    """Before a release, no index has the package. torch is named first."""
    text = (ROOT / 'README.md').read_text()
    assert not re.search(r"pip install [^\n`]*'?mmlosses(?!-VERSION)", text)
    before = text.partition('```bash')[0]
    assert 'https://download.pytorch.org/whl/cpu' in before


def test_wheel_carries_configs_and_users_tools_only(installed):
    mim = installed / 'mmlosses/.mim'
    assert (mim / 'model-index.yml').is_file()
    for pattern in ('*.py', '*.yml', '*.md'):
        assert {
            str(x.relative_to(mim))
            for x in mim.glob(f'configs/**/{pattern}')
        } == {
            str(x.relative_to(ROOT))
            for x in ROOT.glob(f'configs/**/{pattern}')
        }
    kinds = {x.suffix for x in (mim / 'configs').rglob('*') if x.is_file()}
    assert kinds == {'.py', '.yml', '.md', '.json'}
    # From which list_losses says whether compiling pays.
    assert [x.name for x in mim.rglob('*.json')] == ['results.json']
    assert {x.name
            for x in (mim / 'tools').rglob('*')} == {
                'check_config.py', 'class_weights.py', 'install_openmmlab.sh',
                'list_losses.py', 'replay_loss.py', 'swap.py', 'train.py'
            }


def test_commands_of_the_wheel_run(installed, tmp_path):
    pytest.importorskip('sklearn', reason='the demo needs scikit-learn')
    tools = installed / 'mmlosses/.mim/tools'
    config = installed / 'mmlosses/.mim/configs/digits/simcc_kl.py'
    for command in (('-m', 'mmlosses', 'check_config'),
                    (tools / 'check_config.py', )):
        done = subprocess.run(
            [sys.executable, *map(str, command),
             str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            cwd=str(tmp_path),
            env=dict(os.environ, PYTHONPATH=str(installed)))
        assert done.stdout.splitlines()[-1:] == ['trains'], done.stderr
