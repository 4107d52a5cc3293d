"""Each loss takes the arguments and the calls of stock losses of its name."""
import inspect
import re

import pytest
import torch
from cases import CASES
from helpers import ROOT

pytestmark = pytest.mark.openmmlab
try:
    import mmdet.models  # noqa: F401
    import mmpose.models  # noqa: F401
    from mmdet.registry import MODELS as MMDET
    from mmpose.registry import MODELS as MMPOSE
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

from mmlosses.core.base import INPUT_NAMES, WEIGHT_NAMES, call_parameters
from mmlosses.registry import MODELS

MODELS.import_from_location()
CASE = {case.loss.__name__: case for case in CASES}
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
STOCK = [
    pytest.param(cls, id=f'{project}-{name}')
    for project, registry in (('mmdet', MMDET), ('mmpose', MMPOSE))
    for name, cls in sorted(registry.module_dict.items())
    if cls.__module__.startswith(f'{project}.models.losses')
]
every_stock_loss = pytest.mark.parametrize('stock', STOCK)

# Another loss of the name, which leads to that of mmdet.
OTHER = {'EIoULoss': 'ExtendedIoULoss'}
# Defaults of stock that are refused, as no value makes sense or it is wrong.
REFUSED = {
    ('SIoULoss', 'neg_gamma'),
    ('CrossEntropyCustomLoss', 'num_classes'),
    ('FocalCustomLoss', 'num_classes'),
}
# Two numbers each in mmdet and in mmpose, with other meanings.
OTHER_POSITIONS = {'mmpose.models.losses.ae_loss'}
# Every loss of mmpose: a weight counts if it is given.
EVERYWHERE = 'use_target_weight'
# Positions that are taken otherwise: the weight is third, as everywhere.
OTHER_ORDER = {('GaussianFocalLoss', 'pos_inds')}


def namesake(stock):
    """Our loss of the name of a stock loss."""
    ours = MODELS.module_dict.get(stock.__name__)
    if ours is None:
        pytest.skip(f'there is no {stock.__name__} yet')
    if stock.__name__ in OTHER and 'mmdet' in stock.__module__:
        ours = MODELS.module_dict[OTHER[stock.__name__]]
    return ours


def parameters(function):
    """The parameters but self, and those with a name of their own only."""
    given = list(inspect.signature(function).parameters.values())[1:]
    return [x for x in given if x.kind not in VARIADIC]


def stock_defaults(stock):
    return {
        x.name: x.default
        for x in parameters(stock.__init__) if x.default is not x.empty
    }


@every_stock_loss
def test_constructor_arguments_by_name(stock):
    """With the values that stock has by default, all at once."""
    ours = namesake(stock)
    refused = {name for loss, name in REFUSED if loss == stock.__name__}
    names = {x.name for x in parameters(stock.__init__)}
    given = {
        name: value
        for name, value in stock_defaults(stock).items() if name not in refused
    }
    needed = {
        name: value
        for name, value in CASE[ours.__name__].kwargs.items()
        if name in names and name not in given
    }
    ours(**needed, **given)


@every_stock_loss
def test_constructor_arguments_by_position(stock):
    """They have the same meaning, or raise an error."""
    if stock.__module__ in OTHER_POSITIONS:
        pytest.skip('has the positions of the namesake in the other project')
    ours = namesake(stock)
    names, values = [], []
    kwargs = CASE[ours.__name__].kwargs
    for parameter in parameters(stock.__init__):
        value = kwargs.get(parameter.name, parameter.default)
        if value is parameter.empty:
            pytest.skip(f'needs {parameter.name}')
        names.append(parameter.name)
        values.append(value)
        if (stock.__name__, parameter.name) in REFUSED:
            break
        try:
            built = ours(*values)
        except (TypeError, ValueError):
            continue
        expected = ours(**dict(zip(names, values)))
        for name, value in vars(expected).items():
            if isinstance(value, (int, float, str, bool, type(None))):
                assert vars(built)[name] == value, name


@every_stock_loss
def test_page_of_names_has_every_other_argument(stock):
    """Those that ours takes although its signature has not got them."""
    ours = namesake(stock)
    others = {x for kind in ours.namesakes for x in arguments(kind)}
    known = arguments(ours) | others | ours.synonyms.keys()
    for name in {x.name for x in parameters(stock.__init__)} - known:
        assert name in ours.published


def arguments(cls):
    return inspect.signature(cls).parameters.keys()


def call_of(stock, case):
    """The call with all arguments of a stock loss: theirs, and ours."""
    pred, target = case.sample()
    values = dict(
        weight=case.random_weight(), avg_factor=7.0, reduction_override='mean')
    theirs, ours = {}, {}
    for index, parameter in enumerate(parameters(stock.forward)):
        name = parameter.name
        if (stock.__name__, name) in OTHER_ORDER:
            break
        if index < 2:
            theirs[name] = (pred, target)[index]
            continue
        role = name
        if name in (*WEIGHT_NAMES, 'target_weight'):
            role = 'weight'
        if role not in values:
            break
        theirs[name] = ours[role] = values[role]
    return (pred, target), theirs, ours


@every_stock_loss
def test_call_by_name_and_by_position(stock):
    """Each gives what our own call gives."""
    cls = namesake(stock)
    case = CASE[cls.__name__]
    if case.call is not None:
        pytest.skip('its own call, see test_names_of_a_call')
    inputs, theirs, ours = call_of(stock, case)
    expected = case.build()(*inputs, **ours)
    if len(theirs) < 2:
        pytest.skip('one input, see test_names_of_a_call')
    torch.testing.assert_close(case.build()(**theirs), expected)
    torch.testing.assert_close(case.build()(*theirs.values()), expected)


@every_stock_loss
def test_names_of_a_call(stock):
    """Each is a name of ours, or another name of one."""
    cls = namesake(stock)
    if stock.__name__ == 'CombinedLoss':
        pytest.skip('it is a dict of losses and has no call')
    ours = {x.name for x in call_parameters(cls)}
    for parameter in parameters(stock.forward):
        name = parameter.name
        known = (
            name in ours or name in WEIGHT_NAMES
            or INPUT_NAMES.get(name) in ours)
        assert known, name


def other_defaults():
    """Project, loss, argument and both defaults where they differ."""
    for param in STOCK:
        stock, = param.values
        ours = MODELS.module_dict.get(stock.__name__)
        if ours is None or stock.__name__ in OTHER:
            continue
        signature = inspect.signature(ours).parameters
        for name, theirs in stock_defaults(stock).items():
            # `loss_name` is made of the name of the class.
            if name not in signature or name in (EVERYWHERE, 'loss_name'):
                continue
            default = signature[name].default
            if default != theirs:
                project = stock.__module__.partition('.')[0]
                text = 'needed' if default is signature[name].empty else (
                    f'`{default!r}`')
                yield (f'{project} `{stock.__name__}`', f'`{name}`',
                       f'`{theirs!r}`', text)


def test_page_lists_every_default_that_differs():
    page = (ROOT / 'configs/guides/from_stock.md').read_text()
    part = page.partition('## Defaults that differ')[2].partition('\n## ')[0]
    rows = re.findall(
        r'^\| (mm(?:det|pose) `\w+`) \| (`\w+`) \| (\S+) \| (\S+) \|', part,
        re.MULTILINE)
    assert sorted(rows) == sorted(set(other_defaults()))
    for param in STOCK:
        stock, = param.values
        ours = MODELS.module_dict.get(stock.__name__)
        if ours is not None and EVERYWHERE in stock_defaults(stock):
            default = inspect.signature(ours).parameters[EVERYWHERE].default
            assert default in (None, stock_defaults(stock)[EVERYWHERE])
    assert f'`{EVERYWHERE}`' in part
