"""Stock configs of mmpretrain: pages, fake batches and swaps."""
import re

import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope

pytestmark = pytest.mark.openmmlab
try:
    import mmpretrain.models  # noqa: F401
    from mmpretrain.registry import MODELS
except (ImportError, AssertionError) as error:
    pytest.skip(f'needs mmpretrain: {error}', allow_module_level=True)

from mmlosses.checks import fake_batch
from mmlosses.checks.swaps import find_swaps
from mmlosses.cli import config_folder

SNIPPETS = [
    pytest.param(snippet, id=f'{page.parent.name}-{index}')
    for page in sorted((ROOT / 'configs').rglob('*.md'))
    for index, snippet in enumerate(
        re.findall(r"^```python\n(_base_ = 'mmpretrain::.*?)^```",
                   page.read_text(), re.MULTILINE | re.DOTALL))
]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def stock(name):
    return Config.fromfile(config_folder('mmpretrain') / name)


def test_batch_of_a_config_that_inherits():
    """mmengine writes the scope into each dict, also that of a function."""
    name = 'simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'
    cfg = Config.fromstring(f"_base_ = 'mmpretrain::{name}'", '.py')
    assert cfg.train_dataloader.collate_fn['_scope_'] == 'mmpretrain'
    assert len(fake_batch(cfg)['inputs']) == 2


@pytest.mark.parametrize('snippet', SNIPPETS)
def test_heads_of_the_pages_build(snippet):
    head = MODELS.build(Config.fromstring(snippet, '.py').model.head)
    assert type(head.loss_module).__module__.startswith('mmlosses.')


def test_there_are_pages():
    assert len(SNIPPETS) >= 6


BATCHES = {
    'resnet/resnet18_8xb16_cifar10.py': [(32, 32)],
    'csra/resnet101-csra_1xb16_voc07-448px.py': [(448, 448)],
    'simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py': [(224, 224)] * 2,
    'swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py':
    [(224, 224)] * 2 + [(96, 96)] * 6,
    'cae/cae_beit-base-p16_8xb256-amp-coslr-300e_in1k.py': [(224, 224),
                                                            (112, 112)],
    'simmim/simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py':
    [(192, 192)],
}


@pytest.mark.parametrize('name', BATCHES)
def test_fake_batch_has_the_views_of_the_pipeline(name):
    torch.manual_seed(0)
    batch = fake_batch(stock(name))
    inputs, samples = batch['inputs'], batch['data_samples']
    views = inputs
    if isinstance(inputs, torch.Tensor):
        views = [inputs]
    elif inputs[0].ndim == 3:  # images of pseudo_collate
        views = [torch.stack(list(inputs))]
    assert [tuple(x.shape) for x in views] == [(2, 3, *size)
                                               for size in BATCHES[name]]
    for sample in samples:
        labels = sample.gt_label
        assert labels.numel() == (2 if 'csra' in name else 1)
        assert (labels < 20).all()
        masked = name.startswith(('simmim', 'cae'))
        assert ('mask' in sample) == masked


def test_swav_keeps_its_arguments():
    """A list of stock is a tuple here, and no other setting is needed."""
    for name in BATCHES:
        for swap in find_swaps(stock(name)):
            assert swap.ours and not swap.settings and not swap.reason


@pytest.mark.slow
@pytest.mark.parametrize('name', [
    'resnet/resnet18_8xb16_cifar10.py',
    'simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py',
    'csra/resnet101-csra_1xb16_voc07-448px.py',
])
def test_swap_of_a_stock_config(name, tmp_path, monkeypatch, capsys):
    from mmlosses.commands import swap
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        swap.main([f'mmpretrain::{name}', '--check'])
    text = capsys.readouterr().out
    assert end.value.code == 0, text
    assert text.rstrip().endswith('agrees with stock')


@pytest.mark.slow
def test_check_config_of_a_classifier(tmp_path, capsys):
    from mmlosses.commands import check_config
    config = tmp_path / 'focal.py'
    config.write_text(
        "_base_ = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'\n"
        'model = dict(head=dict(loss=dict(_delete_=True, '
        "type='mmlosses.FocalLoss', use_sigmoid=False)))\n")
    with pytest.raises(SystemExit) as end:
        check_config.main([str(config)])
    text = capsys.readouterr().out
    assert end.value.code in (0, None), text
    assert 'FocalLoss' in text and 'trains' in text
