"""Replay a call of a loss: ``python -m mmlosses replay_loss FILE``.

FILE was written by LossDoctorHook. The loss is built from its config and
called with its inputs, and non-finite values are shown. Nothing in the file is
executed: it holds tensors and plain values, and names a registered loss of
mmlosses, mmdet, mmpose or another package of OpenMMLab.

Exit status 0: the fault is there. 1: all is finite, so it is gone or needs the
device on which it was found. 2: the file cannot be used.
"""
from __future__ import annotations
import argparse
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence

import torch
from torch import Tensor

from mmlosses.checks.replay import (ReplayError, count_of, describe_inputs,
                                    load_record, range_of, repeat, tensors_in)

# Inputs with more numbers in a row are not shown.
ROW = 8


def first_bad(value: Tensor) -> List[int]:
    """The index of the first non-finite element."""
    return (~value.isfinite()).nonzero()[0].tolist()


def show_bad(name: str, value: Tensor, inputs: Dict[str, Any]) -> None:
    """Print the first non-finite element, and the inputs in its row."""
    index = first_bad(value)
    place = f', first at {index}' if index else ''
    print(f'not finite: {name}{place}: {value[tuple(index)].item()}')
    if not index:
        return
    for key, argument in inputs.items():
        for part, x in tensors_in(argument, key):
            if x.ndim and len(x) == len(value) and x[0].numel() <= ROW:
                print(f'  {part}[{index[0]}]: {x[index[0]].tolist()}')


def main(argv: Sequence[str] | None = None) -> int:
    """Replay a file and print the result."""
    torch.manual_seed(0)
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', type=Path)
    parser.add_argument('--device', default='cpu', help='such as cuda')
    parser.add_argument(
        '--report', action='store_true', help='show the report of the hook')
    args = parser.parse_args(argv)
    try:
        record = load_record(args.file)
        repeated = repeat(record, args.device)
    except (ReplayError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if args.report:
        print(record.get('report', ''), '\n')
    print(f'{record.get("path", "loss")}: {record["config"]}')
    for line in describe_inputs(repeated.inputs):
        print(f'  {line}')
    for name, value in repeated.values.items():
        text = f'{value.item():.6g}' if value.numel() == 1 else range_of(value)
        print(f'{name}: {text}')
    for name, gradient in repeated.gradients.items():
        print(f'gradient of {name}: {range_of(gradient)}')
    bad = {
        name: value
        for name, value in [
            *repeated.values.items(),
            *[(f'gradient of {name}', x)
              for name, x in repeated.gradients.items()]
        ] if count_of(value)
    }
    for name, value in bad.items():
        show_bad(name, value, repeated.inputs)
    print('the fault is there' if bad else 'all is finite')
    return 0 if bad else 1
