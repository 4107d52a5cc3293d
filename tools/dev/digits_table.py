"""Train the configs of configs/digits and write the metrics they reach.

    python tools/dev/digits_table.py [CONFIG ...]

Without a CONFIG it trains them all. The table in configs/digits/README.md is
written after each training, and keeps the rows of the others.
"""
from __future__ import annotations
import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Tuple

from pages import CONFIGS, ROOT, write_block

from mmlosses.cli import one_line_errors, read_config

FOLDER = CONFIGS / 'digits'
PAGE = FOLDER / 'README.md'
HEAD = """\
| config | losses | metric | chance | bar | reached | seconds |
| --- | --- | --- | --- | --- | --- | --- |
"""


def train(config: Path) -> Tuple[bool, str]:
    """Train a config. Returns if it passes its bar, and its row."""
    cfg = read_config(str(config))
    with tempfile.TemporaryDirectory() as work_dir:
        begin = time.perf_counter()
        done = subprocess.run([
            sys.executable,
            str(ROOT / 'tools/train.py'),
            str(config), '--work-dir', work_dir
        ],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE,
                              universal_newlines=True)
        seconds = time.perf_counter() - begin
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [str(done.returncode)]
        raise ValueError(f'{config} did not train: {words[-1]}')
    metrics = dict(re.findall(r'^(\w+): ([\d.]+)$', done.stdout, re.MULTILINE))
    name = cfg.default_hooks.checkpoint.save_best
    chance, reached = metrics[f'{name}_chance'], metrics[name]
    losses = re.findall(r"'mmlosses\.(\w+)'", str(cfg.model.to_dict()))
    lower = cfg.default_hooks.checkpoint.rule == 'less'
    sign, factor = ('below', -1) if lower else ('above', 1)
    passed = factor * float(reached) >= factor * cfg.bar
    return passed, (
        f'| [{config.stem}]({config.name}) | {", ".join(losses)} | {name} '
        f'| {chance} | {sign} {cfg.bar} | {reached} | {seconds:.0f} |')


def read_rows() -> Dict[str, str]:
    """The rows of the page, by config."""
    if not PAGE.exists():
        return {}
    rows = PAGE.read_text().splitlines()
    return {
        name: row
        for row in rows
        for name in re.findall(r'^\| \[(\w+)\]', row)
    }


def main() -> None:
    """Train the configs, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='*', type=Path)
    configs: List[Path] = parser.parse_args().config or sorted(
        FOLDER.glob('[!_]*.py'))
    failed = []
    for config in configs:
        passed, row = train(config)
        print(row, flush=True)
        if not passed:
            failed.append(config.stem)
        rows = read_rows()
        rows[config.stem] = row
        lines = [rows[name] for name in sorted(rows)]
        write_block(PAGE, 'trainings', HEAD + '\n'.join(lines))
    if failed:
        sys.exit(f'below their bar: {", ".join(failed)}')


if __name__ == '__main__':
    with one_line_errors():
        main()
