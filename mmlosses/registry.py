"""The registries that make ``type='mmlosses.X'`` work without an import.

mmengine imports ``<scope>.registry`` by itself when it meets a scoped name,
and then the ``locations`` of the registry that it finds there.
"""
try:
    from mmengine.registry import HOOKS as MMENGINE_HOOKS
    from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
    from mmengine.registry import MODELS as MMENGINE_MODELS
    from mmengine.registry import Registry
except ModuleNotFoundError as error:
    if error.name != 'mmengine':
        raise
    # Neither distribution is a hard requirement: both install the package
    # `mmengine`, and requiring one would install it over the other.
    raise ModuleNotFoundError(
        'mmlosses needs the package mmengine, which is not installed. Run '
        '`pip install mmengine`, or `pip install onedl-mmengine` for its '
        'maintained fork.',
        name='mmengine') from error

__all__ = ['HOOKS', 'MODELS', 'MODEL_WRAPPERS']

#: The losses: a child of mmengine's ``MODELS``, of the scope ``mmlosses``.
MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='mmlosses',
    locations=['mmlosses.losses'])
#: The hooks, a child of mmengine's ``HOOKS``.
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='mmlosses',
    locations=['mmlosses.hooks'])
#: The wrappers for several processes, a child of mmengine's registry.
MODEL_WRAPPERS = Registry(
    'model_wrapper',
    parent=MMENGINE_MODEL_WRAPPERS,
    scope='mmlosses',
    locations=['mmlosses.distributed.wrapper'])
