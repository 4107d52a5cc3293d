"""Every registered loss keeps the whole contract."""
import dataclasses
import inspect

import pytest
import torch
from cases import CASES
from helpers import needs_dynamo
from mmengine.utils import digit_version

from mmlosses import losses
from mmlosses.core.base import BaseLoss
from mmlosses.registry import MODELS
from mmlosses.testing import CONTRACT

MODELS.import_from_location()
REGISTERED = sorted(set(MODELS.module_dict.values()), key=lambda c: c.__name__)


def test_every_registered_loss_has_a_case():
    assert [case.loss for case in CASES] == REGISTERED


CHECKS = [
    pytest.param(
        case,
        check,
        id=f'{case.loss.__name__}-{name}',
        # Compiling takes seconds.
        marks=pytest.mark.slow if name == 'compiles' else ()) for case in CASES
    for name, check in CONTRACT.items()
]


@pytest.mark.parametrize('case, check', CHECKS)
def test_contract(case, check):
    if check.__name__ == 'compiles':
        needs_dynamo(case.loss)
    if (check.__name__ == 'checkpointing' and case.loss is losses.ArcFaceLoss
            and digit_version(torch.__version__) < digit_version('2.1')):
        pytest.skip('torch 2.0 says: never exposed. Please open an issue')
    check(case)


# What must hold for every argument, and is quick to check.
FOR_EVERY_ARGUMENT = ('weight_zero_removes', 'dtypes', 'nothing_to_learn',
                      'no_host_sync', 'inputs_unchanged', 'gradients',
                      'life_cycle')
VARIANTS = [
    pytest.param(
        dataclasses.replace(case, kwargs={
            **case.kwargs,
            **kwargs
        }),
        id=f'{case.loss.__name__}-{name}') for case in CASES
    for name, (_, kwargs) in case.arguments.items()
]


@pytest.mark.slow
@pytest.mark.parametrize('name', FOR_EVERY_ARGUMENT)
@pytest.mark.parametrize('case', VARIANTS)
def test_contract_for_every_argument(case, name):
    CONTRACT[name](case)


@pytest.mark.parametrize('loss', REGISTERED, ids=lambda loss: loss.__name__)
def test_importable_from_the_package(loss):
    assert getattr(losses, loss.__name__) is loss
    assert loss.__name__ in losses.__all__


@pytest.mark.parametrize('loss', REGISTERED, ids=lambda loss: loss.__name__)
def test_docstring_documents_the_arguments(loss):
    """Its own, and those of its bases at the bases; and the formula."""
    # Python 3.13 removes the indentation of docstrings.
    docs = [
        inspect.cleandoc(cls.__doc__) for cls in loss.__mro__
        if issubclass(cls, BaseLoss)
    ]
    for name in inspect.signature(loss).parameters:
        assert any(f'\n    {name} (' in doc for doc in docs), name
    assert '.. math::' in loss.__doc__ and 'Shape:' in ''.join(docs)
