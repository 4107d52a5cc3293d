"""The mask and corner heads of the demo, and their metrics."""
import numpy as np
import pytest
import torch

pytest.importorskip('sklearn', reason='the demo needs scikit-learn')

from helpers import ROOT, needs_dotted_paths
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, InstanceData

from mmlosses.demo import BoxF1, CornerHead, MaskDice, MaskIoU
from mmlosses.demo.metrics import box_iou


def scored(metric, *scenes):
    """The metric of scenes of (truth, guess)."""
    for truth, guess in scenes:
        boxes = torch.zeros(len(truth), 4)
        gt = {'bboxes': boxes, metric.field: truth}
        sample = BaseDataElement(
            gt_instances=InstanceData(**gt),
            pred_instances=InstanceData(**{metric.field: guess}))
        metric.process(None, [sample.to_dict()])
    return metric.compute_metrics(metric.results)


def test_mask_metrics():
    """Two digits are one mask; half of the ink is found."""
    truth = torch.zeros(2, 4, 4, dtype=torch.bool)
    truth[0, 0], truth[1, 2] = True, True
    guess = truth[:1]
    got = scored(MaskIoU(), (truth, guess), (truth, truth.any(0)[None]))
    assert got == dict(mask_IoU=0.75, mask_IoU_chance=1.0)
    got = scored(MaskDice(), (truth, guess))
    assert got['mask_Dice'] == pytest.approx(2 * 4 / 12)


def test_box_f1():
    truth = torch.tensor([[0., 0, 4, 4], [10, 10, 14, 14]])
    wrong = torch.tensor([[0., 0, 4, 4], [0, 0, 4, 4], [20, 20, 21, 21]])
    # One of three predictions is correct: each digit matches once.
    assert scored(BoxF1(), (truth, wrong))['box_F1'] == 2 / 5
    assert scored(BoxF1(), (truth, truth.flip(0)))['box_F1'] == 1
    assert scored(BoxF1(), (truth, truth[:0]))['box_F1'] == 0
    one, other = np.array([0, 0, 4, 4.]), np.array([2, 0, 6, 4.])
    assert box_iou(one, other) == pytest.approx(1 / 3)


def test_corner_head_decodes_its_targets():
    """Boxes survive encoding to maps and back, also at the border."""
    boxes = torch.tensor([[3., 5, 30, 41], [33, 20, 64, 64]])
    head = CornerHead(dict(type='mmlosses.CornerNetLoss'), in_channels=4)
    calls = []
    head.loss_module.register_forward_pre_hook(
        lambda module, args: calls.append(args))
    features = torch.randn(1, 4, 16, 16)
    sample = BaseDataElement(gt_instances=InstanceData(bboxes=boxes))
    sum(head.loss(features, [sample]).values()).backward()
    assert head.maps.weight.grad.abs().sum() > 0
    (_, targets), = calls
    maps = []
    for heat, offset, corner in zip(targets[:2], targets[3:],
                                    boxes.split(2, dim=1)):
        cell = (corner / 4).long().clamp(max=15)
        assert (heat == 1).sum() == 2
        tag, offsets = torch.zeros(1, 1, 16, 16), torch.zeros(1, 2, 16, 16)
        for k, (x, y) in enumerate(cell.tolist()):
            assert heat[0, 0, y, x] == 1
            tag[0, 0, y, x], offsets[0, :, y, x] = 2 * k, offset[0, k]
        maps.append((100 * heat - 95, tag, offsets))
    head.forward = lambda features: maps
    got, = head.predict(features, [sample])
    got = got.pred_instances.bboxes
    torch.testing.assert_close(got[got[:, 0].argsort()], boxes)


@pytest.mark.slow
@needs_dotted_paths
@pytest.mark.parametrize('name',
                         ['cornernet', 'mask_balanced_bce', 'mask_dice'])
def test_config_trains(name, tmp_path):
    cfg = Config.fromfile(str(ROOT / f'configs/digits/{name}.py'))
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.dataset.num_scenes = 20
    cfg.train_dataloader.batch_size = 10
    cfg.val_dataloader.dataset.num_scenes = 10
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.default_scope = 'mmengine'
    cfg.experiment_name = f'{name}_{tmp_path.name}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    losses = runner.message_hub.log_scalars['train/loss'].data[0]
    assert len(losses) == 2 and np.isfinite(losses).all()
    metric = cfg.default_hooks.checkpoint.save_best
    assert f'val/{metric}' in runner.message_hub.log_scalars
