"""What the documents say is so."""
import re
import shlex

import pytest
import torch
from cases.boxes import CASES as BOXES
from helpers import ROOT, needs_dynamo

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


PAGES = sorted((ROOT / 'configs').glob('*/README.md'))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.parent.name)
def test_pages_of_the_configs(page):
    """Links lead somewhere, and each config line builds a loss."""
    text = page.read_text()
    local = [
        target for target in re.findall(r'\]\(([^)]+)\)', text)
        if '://' not in target
    ]
    assert all([(page.parent / target).exists() for target in local])
    snippets = [
        re.sub('^_base_.*', '', block, flags=re.MULTILINE)
        for block in code_blocks(text, 'python')
    ]
    snippets += [
        f'loss = {line}' for line in re.findall('`(dict\\(.*?\\))`', text)
    ]
    for snippet in snippets:
        namespace = {}
        exec(snippet, namespace)
        del namespace['__builtins__']
        losses = list(losses_of(namespace))
        assert losses, snippet
        for loss in losses:
            MODELS.build(loss)


def losses_of(config):
    """The configs of losses within a config, without what asks to merge."""
    if isinstance(config, dict):
        kind = str(config.get('type'))
        if kind.startswith('mmlosses.') and MODELS.get(kind) is not None:
            yield {key: config[key] for key in config if key != '_delete_'}
        else:
            for value in config.values():
                yield from losses_of(value)


def test_page_of_the_boxes_has_them_all():
    text = (ROOT / 'configs/boxes/README.md').read_text()
    for case in BOXES:
        assert f'mmlosses.{case.loss.__name__}' in text
