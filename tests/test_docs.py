"""The pages: commands, links and snippets work."""
import re
import shlex

import pytest
from cases.boxes import CASES as BOXES
from helpers import ROOT

import mmlosses.losses
from mmlosses.registry import HOOKS, MODELS

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


def test_commands_name_existing_files():
    for block in code_blocks(README, 'bash')[:2]:
        names = [word for word in shlex.split(block) if '/' in word]
        files = [
            name for name in names if name.startswith(('tools', 'configs'))
        ]
        assert files and all((ROOT / name).is_file() for name in files)


def test_links_of_the_readme():
    assert local_links(README)
    assert all([(ROOT / target).exists() for target in local_links(README)])


def local_links(text):
    targets = re.findall(r'\]\(([^)]+)\)', text)
    return [
        target.partition('#')[0] for target in targets if '://' not in target
    ]


def test_every_loss_is_in_the_table():
    table = (ROOT / 'configs/losses.md').read_text()
    MODELS.import_from_location()
    for name in MODELS.module_dict:
        assert f'`{name}`' in table


def test_snippets_of_the_readme_build():
    built = [
        loss for block in code_blocks(README, 'python')
        for loss in build_parts(block)
    ]
    assert {type(loss).__name__
            for loss in built} == {'DIoULoss', 'KLDiscretLoss'}


PAGES = sorted((ROOT / 'configs').rglob('*.md'))


def test_names_in_published_code():
    """Bold names are importable, links lead to a fault that is shown."""
    text = (ROOT / 'configs/guides/published_code.md').read_text()
    names = re.findall(r'\*\*`(\w+)`', text)
    assert len(names) == 18
    for name in names:
        assert hasattr(mmlosses.losses, name), name
    faults = (ROOT / 'configs/differs_from_upstream.md').read_text()
    anchors = re.findall(r'upstream\.md#(\w+)', text)
    assert anchors
    for anchor in anchors:
        assert f'<a id="{anchor}">' in faults, anchor


def test_registered_names_are_importable():
    MODELS.import_from_location()
    for name, loss in MODELS.module_dict.items():
        assert getattr(mmlosses.losses, name) is loss
        assert name in mmlosses.losses.__all__


@pytest.mark.parametrize(
    'page', PAGES, ids=lambda page: f'{page.parent.name}-{page.stem}')
def test_pages_of_the_configs(page):
    """Links exist, and each config line builds a loss or a hook."""
    text = page.read_text()
    assert all([(page.parent / target).exists()
                for target in local_links(text)])
    assert 'python tools/check_config.py' not in text, 'fails without a clone'
    if page.stem == 'your_own_loss':  # tests/test_guides.py runs it
        return
    snippets = code_blocks(text, 'python') + [
        f'loss = {line}' for line in re.findall('`(dict\\(type=.*?\\))`', text)
    ]
    for snippet in snippets:
        assert build_parts(snippet), snippet


def build_parts(snippet):
    """Build the losses and hooks in a snippet of a config."""
    namespace = {}
    exec(re.sub('^_base_.*', '', snippet, flags=re.MULTILINE), namespace)
    del namespace['__builtins__']
    for registry in (MODELS, HOOKS):
        registry.import_from_location()
    return [
        registry.build(part) for registry in (MODELS, HOOKS)
        for part in parts_of(namespace, registry)
    ]


def parts_of(config, registry):
    """The configs of classes in a registry, without `_delete_`."""
    if isinstance(config, dict):
        kind = config.get('type')
        if isinstance(kind, type):
            kind = f'mmlosses.{kind.__name__}'
        scope, _, name = str(kind).partition('.')
        if scope == 'mmlosses' and name in registry.module_dict:
            yield {key: config[key] for key in config if key != '_delete_'}
        else:
            for value in config.values():
                yield from parts_of(value, registry)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from parts_of(value, registry)


def test_page_of_the_boxes_is_complete():
    text = (ROOT / 'configs/boxes/README.md').read_text()
    for case in BOXES:
        assert f'mmlosses.{case.loss.__name__}' in text
