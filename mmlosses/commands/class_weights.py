"""Class weights from a COCO annotation file, ready to paste into a config.

    python -m mmlosses class_weights ANN
    python -m mmlosses class_weights ANN --method inverse --background 1

They are in the order in which CocoDataset of mmdet numbers the classes: that
of the file's `categories`, whatever the order in `metainfo`. Only annotations
that it trains with count: no crowds, no ignored ones, no boxes that are empty
or outside their image. The weights have a mean of 1.
"""
from __future__ import annotations
import argparse
import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Sequence

from mmlosses.cli import (did_you_mean, one_line_errors, read_config,
                          write_whole)

METHODS = ('effective', 'inverse')
COUNTS = ('instances', 'images')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('ann', type=Path, help='the annotation file')
    parser.add_argument(
        '--method',
        choices=METHODS,
        default='effective',
        help='1 / effective number of samples, the default, or 1 / number')
    parser.add_argument(
        '--beta',
        type=float,
        default=0.9999,
        help='of the effective number, from 0 (all the same) to below 1 (the '
        'inverse number); 0.9999 by default')
    parser.add_argument(
        '--count',
        choices=COUNTS,
        default='instances',
        help='count instances, the default, or images that have one')
    parser.add_argument(
        '--background',
        type=float,
        metavar='W',
        help='append the weight of the background, which the softmax heads of '
        'mmdet have as their last class')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--classes', metavar='A,B,C', help='only these classes')
    which.add_argument(
        '--config',
        metavar='CONFIG',
        help="only the classes of the config's training data")
    parser.add_argument(
        '--json',
        type=Path,
        metavar='FILE',
        help='also write {"class_weight": [...]}, which a config can have '
        'among its _base_')
    args = parser.parse_args(argv)
    if not 0 <= args.beta < 1:
        parser.error(f'--beta must be from 0 to below 1, got {args.beta}')
    if args.background is not None and not 0 <= args.background < math.inf:
        parser.error('--background must be a number from 0, got '
                     f'{args.background}')
    return args


def read_annotations(path: Path) -> Dict[str, Any]:
    """Read an annotation file and check its form.

    Raises:
        ValueError: If it is none.
    """
    with open(path, encoding='utf-8') as file:
        data = json.load(file)
    if not isinstance(data, dict):
        raise ValueError(f'{path} holds a {type(data).__name__}, where an '
                         'annotation file of COCO holds a dict')
    for name in ('images', 'annotations', 'categories'):
        rows = data.get(name)
        dicts = isinstance(rows, list) and all(
            [isinstance(row, dict) for row in rows])
        if not dicts:
            raise ValueError(f'{path} has no list of {name}')
    for name, keys in (('images', ('id', 'width', 'height')),
                       ('annotations', ('image_id', 'category_id')),
                       ('categories', ('id', 'name'))):
        for row in data[name]:
            missing = [key for key in keys if key not in row]
            if missing:
                raise ValueError(f'{path} has {name} without {missing[0]}')
    for key in ('id', 'name'):
        twice = [
            value for value, number in Counter(
                [row[key] for row in data['categories']]).items() if number > 1
        ]
        if twice:
            raise ValueError(
                f'{path} has several categories of the {key} {twice[0]}')
    return data


def trains_with(row: Dict[str, Any], image: Dict[str, Any]) -> bool:
    """If CocoDataset of mmdet uses an annotation as an object."""
    if row.get('ignore') or row.get('iscrowd'):
        return False
    if 'bbox' not in row:
        return True
    x, y, width, height = row['bbox']
    inside = (
        min(x + width, image['width']) > max(x, 0)
        and min(y + height, image['height']) > max(y, 0))
    return (inside and width >= 1 and height >= 1
            and row.get('area', width * height) > 0)


def count_classes(data: Dict[str, Any], count: str) -> Dict[str, int]:
    """Count each class, in the order of the file."""
    images = {image['id']: image for image in data['images']}
    found = [(row['category_id'], row['image_id'])
             for row in data['annotations'] if row['image_id'] in images
             and trains_with(row, images[row['image_id']])]
    number = Counter([
        category
        for category, _ in (set(found) if count == 'images' else found)
    ])
    return {row['name']: number[row['id']] for row in data['categories']}


def chosen(counts: Dict[str, int], classes: Sequence[str]) -> Dict[str, int]:
    """Select some classes, in the order of the file.

    Raises:
        ValueError: If the file lacks one of them.
    """
    for name in classes:
        if name not in counts:
            raise ValueError(f'the file has no category {name}' +
                             did_you_mean(name, counts))
    return {name: counts[name] for name in counts if name in classes}


def classes_of(config: str) -> List[str]:
    """The classes of a config's training data.

    Raises:
        ValueError: If its dataset names none.
    """
    from mmengine.registry import DATASETS, init_default_scope
    cfg = read_config(config)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    while dataset and ('dataset' in dataset or 'datasets' in dataset):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    if not dataset:
        raise ValueError(f'{config} has no dataset to train with')
    metainfo = dataset.get('metainfo') or {}
    if isinstance(metainfo, str) or 'classes' not in metainfo:
        kind = dataset['type']
        cls = kind
        if isinstance(kind, str):
            with DATASETS.switch_scope_and_registry(None) as registry:
                cls = registry.get(kind)
        if cls is None:
            raise ValueError(f'{config}: {kind} is not a registered dataset')
        metainfo = getattr(cls, 'METAINFO', {})
    if not metainfo.get('classes'):
        raise ValueError(f'{config}: the dataset names no classes')
    names = metainfo['classes']
    return [names] if isinstance(names, str) else list(names)


def effective_number(number: int, beta: float) -> float:
    r"""(1 - beta^n) / (1 - beta), of the paper's equation 4."""
    if beta == 0:
        return 1.0
    return -math.expm1(number * math.log(beta)) / (1 - beta)


def weights_of(counts: Sequence[int], method: str, beta: float) -> List[float]:
    """The weights, with a mean of 1 over the classes that occur.

    Classes that do not occur have the weight 1.

    Raises:
        ValueError: If no class occurs.
    """
    raw = [
        number and 1 /
        (number if method == 'inverse' else effective_number(number, beta))
        for number in counts
    ]
    there = [weight for weight in raw if weight]
    if not there:
        raise ValueError('the file has no instance of any of the classes')
    mean = sum(there) / len(there)
    return [float(f'{weight / mean:.4g}') if weight else 1.0 for weight in raw]


def main(argv: Sequence[str] | None = None) -> None:
    """Print class weights."""
    args = parse_args(argv)
    with one_line_errors():
        print_weights(args)


def print_weights(args: argparse.Namespace) -> None:
    """Print the line for a config, after comments that describe it."""
    data = read_annotations(args.ann)
    counts = count_classes(data, args.count)
    classes = list(counts)
    if args.classes is not None:
        classes = [name.strip() for name in args.classes.split(',')]
    elif args.config is not None:
        classes = classes_of(args.config)
    counts = chosen(counts, classes)
    weights = weights_of(list(counts.values()), args.method, args.beta)
    method = (f'effective number, beta {args.beta:g}'
              if args.method == 'effective' else 'inverse frequency')
    print(f'# {method}; {args.count}: {sum(counts.values())}, classes: '
          f'{len(counts)}' +
          ('' if args.background is None else ', then the background'))
    absent = [name for name, number in counts.items() if not number]
    if absent:
        print(f'# without {args.count}, hence 1: {", ".join(absent)}')
    if args.background is not None:
        weights.append(args.background)
    print(f'class_weight={weights},')
    if classes != list(counts):
        print(
            'warning: the classes are given in another order than that of the '
            'file. mmdet numbers them in the order of the file, and so are '
            'the weights; the names in its results are those of the given '
            'order',
            file=sys.stderr)
    if args.json is not None:
        write_whole(args.json, json.dumps(dict(class_weight=weights)) + '\n')
