"""Fixtures of several test files."""
import pytest
import torch
from feature_samples import CHANNELS, CLASSES


@pytest.fixture
def sample():
    """Features and labels."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(8, CHANNELS, generator=generator).double()
    labels = torch.randint(CLASSES, (8, ), generator=generator)
    return features, labels


@pytest.fixture
def stock():
    """The losses of mmdet."""
    try:
        from mmdet.models import losses
    except (ImportError, AssertionError) as error:
        pytest.skip(f'needs mmcv and mmdet: {error}')
    return losses
