"""Type checkers see every argument, also those behind ``**kwargs``."""
import pytest
from helpers import ROOT

api = pytest.importorskip('mypy.api', reason='needs mypy')

RIGHT = """
from mmlosses.losses import GIoULoss, KLDiscretLoss, SmoothL1Loss
KLDiscretLoss(compile=True, keypoint_weight=[1.0], loss_weight=2.0)
SmoothL1Loss(0.5, reduction='sum', use_target_weight=True)
GIoULoss(eps=1e-7, compile=True)
"""
WRONG = """
from mmlosses.losses import ArcFaceLoss, FocalLoss, SmoothL1Loss
SmoothL1Loss(bta=1.0)
FocalLoss(reduction=1)
ArcFaceLoss(10, 128, chunk_sizes=5)
ArcFaceLoss(num_classes=10)
"""


def errors_of(code, tmp_path, monkeypatch):
    monkeypatch.setenv('MYPYPATH', str(ROOT))
    path = tmp_path / 'user.py'
    path.write_text(code)
    out, _, _ = api.run(
        ['--config-file=', '--ignore-missing-imports',
         str(path)])
    return [line for line in out.splitlines() if 'user.py' in line]


@pytest.mark.slow
def test_arguments_of_a_user(tmp_path, monkeypatch):
    assert errors_of(RIGHT, tmp_path, monkeypatch) == []
    found = errors_of(WRONG, tmp_path, monkeypatch)
    assert [line.split(':')[1] for line in found] == ['3', '4', '5', '6']
    assert '"bta"' in found[0] and '"chunk_sizes"' in found[2]
