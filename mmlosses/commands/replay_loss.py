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

from mmlosses.checks.replay import (count_of, describe_inputs, load_record,
                                    range_of, repeat, tensors_in)
from mmlosses.cli import explain

# Inputs with more numbers in a row are not shown.
ROW = 8


def show(text: str, file: Any = None) -> None:
    """Print a line in which nothing of a file moves the cursor."""
    print(
        ''.join([x if x.isprintable() else repr(x)[1:-1] for x in text]),
        file=file)


def first_bad(value: Tensor) -> List[int]:
    """The index of the first non-finite element."""
    return (~value.isfinite()).nonzero()[0].tolist()


def show_bad(name: str, value: Tensor, inputs: Dict[str, Any]) -> None:
    """Print the first non-finite element, and the inputs in its row."""
    index = first_bad(value)
    place = f', first at {index}' if index else ''
    show(f'not finite: {name}{place}: {value[tuple(index)].item()}')
    if not index:
        return
    for key, argument in inputs.items():
        for part, x in tensors_in(argument, key):
            if x.ndim and len(x) == len(value) and x[0].numel() <= ROW:
                show(f'  {part}[{index[0]}]: {x[index[0]].tolist()}')


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
        return 0 if replay(args.file, args.device, args.report) else 1
    except Exception as error:  # status 1 would mean that all is finite
        show(f'error: {explain(error)}', sys.stderr)
        return 2


def replay(path: Path, device: str, with_report: bool) -> bool:
    """Replay a file, print the result, and return if the fault is there."""
    record = load_record(path)
    repeated = repeat(record, device)
    if with_report:
        for line in [*str(record.get('report', '')).split('\n'), '']:
            show(line)
    show(f'{record.get("path", "loss")}: {record["config"]}')
    for line in describe_inputs(repeated.inputs):
        show(f'  {line}')
    for name, value in repeated.values.items():
        text = f'{value.item():.6g}' if value.numel() == 1 else range_of(value)
        show(f'{name}: {text}')
    for name, gradient in repeated.gradients.items():
        show(f'gradient of {name}: {range_of(gradient)}')
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
    return bool(bad)
