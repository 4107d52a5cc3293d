"""Heads of mmpretrain for pictures without labels, beside their own losses."""
import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope

pytestmark = pytest.mark.openmmlab
try:
    import mmpretrain.models  # noqa: F401
    from mmpretrain.registry import HOOKS, MODELS
except (ImportError, AssertionError) as error:
    pytest.skip(f'needs mmpretrain: {error}', allow_module_level=True)

PIXELS = dict(type='PixelReconstructionLoss', criterion='L2')
COSINE = dict(type='CosineSimilarityLoss')
PREDICTOR = dict(
    type='NonLinearNeck',
    in_channels=6,
    hid_channels=4,
    out_channels=6,
    with_avg_pool=False)


def images():
    return torch.randn(2, 3, 8, 8)


def patch_mask():
    return (torch.rand(2, 4) > 0.4).float()


def swav_features():
    return F.normalize(torch.randn(2 * 3, 6))


# The head, its loss, and what it is called with; the first gets a gradient.
HEADS = {
    'MAE': (dict(type='MAEPretrainHead', norm_pix=True,
                 patch_size=4), PIXELS, lambda:
            (torch.randn(2, 4, 48), images(), patch_mask())),
    'MAE, pixels': (dict(type='MAEPretrainHead', patch_size=4), PIXELS, lambda:
                    (torch.randn(2, 4, 48), images(), patch_mask())),
    'MixMIM':
    (dict(type='MixMIMPretrainHead', patch_size=4), PIXELS, lambda:
     (torch.randn(2, 4, 48), images()[:1], patch_mask()[:1, :, None])),
    'SimMIM': (dict(type='SimMIMHead', patch_size=4),
               dict(type='PixelReconstructionLoss', criterion='L1',
                    channel=3), lambda:
               (images(), images(), patch_mask().reshape(2, 2, 2))),
    'SparK': (dict(type='SparKPretrainHead', patch_size=4), PIXELS, lambda:
              (images(), images(), patch_mask().reshape(2, 1, 2, 2).bool())),
    'MaskFeat':
    (dict(type='MIMHead'), PIXELS, lambda:
     (torch.randn(2, 4, 5), torch.randn(2, 4, 5), patch_mask().bool())),
    'EVA': (dict(type='MIMHead'), dict(COSINE, shift_factor=1.0), lambda:
            (torch.randn(2, 4, 5), torch.randn(2, 4, 5), patch_mask())),
    'MILAN': (dict(type='MIMHead'),
              dict(COSINE, shift_factor=2.0, scale_factor=2.0), lambda:
              (torch.randn(2, 4, 5), torch.randn(2, 4, 5))),
    'SimSiam': (dict(type='LatentPredictHead',
                     predictor=PREDICTOR), COSINE, lambda:
                (torch.randn(4, 6), torch.randn(4, 6))),
    'Barlow Twins': (dict(type='LatentCrossCorrelationHead', in_channels=6),
                     dict(type='CrossCorrelationLoss'), lambda:
                     (torch.randn(4, 6), torch.randn(4, 6))),
    'CAE':
    (dict(type='CAEHead'), dict(type='CAELoss', lambd=2), lambda:
     (torch.randn(4, 7), torch.randn(2, 7, 2, 2), torch.randn(2, 2, 5),
      torch.randn(2, 2, 5), torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0]]).bool())
     ),
    'SwAV':
    (dict(type='SwAVHead'),
     dict(type='SwAVLoss', feat_dim=6, num_crops=[2, 1],
          num_prototypes=5), lambda: (swav_features(), )),
}


def built(scope, head, loss):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    loss = dict(loss, type=f"{scope}.{loss['type']}")
    return MODELS.build(dict(copy.deepcopy(head), loss=loss))


def steps(scope, head, loss, inputs, number=3):
    """The losses of some steps, their gradients and what was learnt."""
    model = built(scope, head, loss)
    model.init_weights()
    found = []
    torch.manual_seed(1)
    for _ in range(number):
        pred, *others = inputs()
        pred.requires_grad_()
        call = model if head['type'].startswith('SparK') else model.loss
        terms = call(pred, *others)
        terms = terms if isinstance(terms, tuple) else (terms, )
        parameters = list(model.parameters())
        grads = torch.autograd.grad(
            sum(terms), [pred, *parameters], allow_unused=True)
        found.append((*terms, *grads))
        with torch.no_grad():
            for parameter, grad in zip(parameters, grads[1:]):
                parameter -= 0.1 * grad
    return found, model.state_dict()


@pytest.mark.parametrize('name', HEADS)
def test_a_head_trains_as_with_stock(name):
    ours, stock = [
        steps(scope, *HEADS[name]) for scope in ('mmlosses', 'mmpretrain')
    ]
    torch.testing.assert_close(ours, stock)
    assert all([grad.any() for _, *grads in ours[0] for grad in grads[-1:]])


def test_the_hook_of_swav_sets_the_queue(tmp_path):
    """It makes, loads and keeps the queue of the loss as that of stock."""
    from types import SimpleNamespace
    queues = []
    for scope in ('mmlosses', 'mmpretrain'):
        head = built(scope, *HEADS['SwAV'][:2])
        model = torch.nn.Module()
        model.head = head
        runner = SimpleNamespace(
            model=model,
            work_dir=str(tmp_path / scope),
            epoch=0,
            iter=0,
            world_size=1)
        (tmp_path / scope).mkdir()
        settings = dict(
            type='SwAVHook',
            batch_size=2,
            epoch_queue_starts=1,
            feat_dim=6,
            queue_length=5,
            frozen_layers_cfg=dict(prototypes=2))
        hook = HOOKS.build(settings)
        hook.before_run(runner)
        torch.manual_seed(1)
        values = []
        for runner.epoch in range(3):
            hook.before_train_epoch(runner)
            for _ in range(2):
                hook.before_train_iter(runner, 0)
                weight = head.loss_module.prototypes.weight
                assert weight.requires_grad == (runner.iter >= 2)
                loss = head.loss(swav_features().requires_grad_())
                loss.backward()
                values.append(loss.detach())
                runner.iter += 1
            hook.after_train_epoch(runner)
        assert head.loss_module.queue.shape == (2, 4, 6)
        again = HOOKS.build(settings)
        again.before_run(runner)
        torch.testing.assert_close(again.queue, head.loss_module.queue)
        queues.append((torch.stack(values), again.queue))
    torch.testing.assert_close(*queues)


def test_checkpoints_of_swav_load_in_both():
    ours, stock = [
        built(scope, *HEADS['SwAV'][:2])
        for scope in ('mmlosses', 'mmpretrain')
    ]
    ours.load_state_dict(stock.state_dict())
    stock.load_state_dict(ours.state_dict())


@pytest.mark.parametrize('init_cfg', [
    dict(type='Constant', layer='Linear', val=0.5),
    [dict(type='Constant', layer='Linear', val=0.5)],
])
def test_initialisation_of_swav(init_cfg):
    """By the loss's own ``init_cfg``, as the head starts it."""
    head, loss, _ = HEADS['SwAV']
    for scope in ('mmlosses', 'mmpretrain'):
        model = built(scope, head, dict(loss, init_cfg=init_cfg))
        model.init_weights()
        assert (model.loss_module.prototypes.weight == 0.5).all()
