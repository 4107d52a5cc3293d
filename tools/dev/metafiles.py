"""The metafiles by which mim knows the configs, from the catalogue."""
from __future__ import annotations
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterable, List, Type

import yaml  # type: ignore[import-untyped]

from mmlosses.commands.list_losses import family_of
from mmlosses.losses import FAMILIES, BaseLoss
from mmlosses.registry import MODELS

TASKS = {
    'PCK': 'Keypoint Detection',
    'mIoU': 'Object Detection',
    'box_F1': 'Object Detection',
    'mask_IoU': 'Instance Segmentation',
    'accuracy': 'Image Classification',
    'angular_error': 'Orientation Estimation',
}


@lru_cache(maxsize=None)
def named_in(config: Path) -> List[str]:
    """Possible losses in a config: scoped names, and classes."""
    return re.findall(r'(?:mmlosses\.|type=)(\w+)', config.read_text())


def metafiles(losses: Iterable[Type[BaseLoss]], root: Path) -> Dict[str, str]:
    """Each file with its text: a collection for each family, with its papers,
    and a model for each config, with its result where one was measured.
    """
    files = {}
    for family, title in FAMILIES.items():
        papers = {
            loss.info.paper.url or loss.info.paper.title: None
            for loss in losses if family_of(loss) == family and loss.info.paper
        }
        collection: Dict[str, Any] = {
            'Name': title,
            'README': f'configs/{family}/README.md'
        }
        if papers:
            # Of papers with titles mim shows one only.
            collection['Paper'] = list(papers)
        files[f'configs/{family}/metafile.yml'] = dump(
            {'Collections': [collection]})
    for folder in ('digits', 'mmdet', 'mmpose'):
        results = measured((root / f'configs/{folder}/README.md').read_text())
        models = []
        for path in sorted((root / 'configs' / folder).glob('[!_]*.py')):
            model: Dict[str, Any] = {
                'Name': path.stem,
                'In Collection': collection_of(path, losses),
                'Config': f'configs/{folder}/{path.name}',
            }
            if path.stem in results:
                metric, value = results[path.stem]
                model['Results'] = [{
                    'Task': TASKS[metric],
                    'Dataset': 'handwritten digits of scikit-learn',
                    'Metrics': {
                        metric: value
                    },
                }]
            models.append(model)
        files[f'configs/{folder}/metafile.yml'] = dump({'Models': models})
    files['model-index.yml'] = dump({'Import': sorted(files)})
    return files


def collection_of(path: Path, losses: Iterable[Type[BaseLoss]]) -> str:
    """The title of the family whose loss a config names first."""
    for name in named_in(path):
        loss = MODELS.module_dict.get(name)  # also by a second name
        if loss in losses:
            return FAMILIES[family_of(loss)]
    raise ValueError(f'{path} has no loss of mmlosses')


def measured(page: str) -> Dict[str, Any]:
    """The metric of each config of a table of trainings, and what it reached.
    """
    rows = re.findall(
        r'^\| \[(\w+)\]\(.*?\) \| .*? \| (\w+) \| [\d.]+ \| \w+ [\d.]+ '
        r'\| ([\d.]+) \|', page, re.MULTILINE)
    return {name: (metric, float(value)) for name, metric, value in rows}


def dump(content: Dict[str, Any]) -> str:
    """As YAML."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
