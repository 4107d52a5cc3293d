"""What the documents say is so."""
import re
import shlex

import torch
from conftest import ROOT, needs_dynamo

from mmlosses.registry import MODELS
from mmlosses.testing import CONTRACT, LossCase

README = (ROOT / 'README.md').read_text()


def code_blocks(text, language):
    blocks = re.findall(rf'^( *)```{language}\n(.*?)^ *```', text,
                        re.MULTILINE | re.DOTALL)
    return [
        re.sub(f'^{indent}', '', block, flags=re.MULTILINE)
        for indent, block in blocks
    ]


def test_ci_runs_the_test_command_of_the_readme():
    train, test = code_blocks(README, 'bash')[:2]
    assert 'pytest' in test and 'pytest' not in train
    assert test.strip() in (ROOT / '.ci/run').read_text()


def test_commands_name_files_that_are_there():
    for block in code_blocks(README, 'bash')[:2]:
        names = [word for word in shlex.split(block) if '/' in word]
        files = [
            name for name in names if name.startswith(('tools', 'configs'))
        ]
        assert files and all((ROOT / name).is_file() for name in files)


def test_links_of_the_readme_lead_somewhere():
    targets = re.findall(r'\]\(([^)]+)\)', README)
    local = [target for target in targets if '://' not in target]
    assert local and all((ROOT / target).exists() for target in local)


def test_every_loss_is_in_the_readme():
    MODELS.import_from_location()
    for name in MODELS.module_dict:
        assert f'`{name}`' in README


def test_snippets_of_the_readme_build():
    for block in code_blocks(README, 'python'):
        namespace = {}
        exec(re.sub('^_base_.*', '', block, flags=re.MULTILINE), namespace)
        loss = namespace.get('loss') or namespace['model']['head']['loss']
        assert not MODELS.build(loss).size_average


def test_loss_of_the_contributing_guide_keeps_the_contract():
    """Ten lines are enough, as the guide says."""
    code, = code_blocks((ROOT / 'CONTRIBUTING.md').read_text(), 'python')
    namespace = {}
    exec(code, namespace)
    MODELS.module_dict.pop('LogCoshLoss')
    case = LossCase(
        loss=namespace['LogCoshLoss'],
        inputs=lambda batch: (torch.randn(batch, 4), torch.randn(batch, 4)),
        element_shape=lambda batch: (batch, 4),
        perfect=lambda batch: (torch.ones(batch, 4), torch.ones(batch, 4)),
        non_negative=True)
    for name, check in CONTRACT.items():
        if name == 'compiles':
            needs_dynamo()
        if name != 'life_cycle':  # A class made by exec has no module.
            check(case)
