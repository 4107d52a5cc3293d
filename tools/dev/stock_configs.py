"""Put mmlosses into every stock config, build the losses, and compare steps.

    python tools/dev/stock_configs.py [PROJECT ...] [--check] [--record FILE]

It reads every config that the wheel of a project holds, prefixes each loss
that has a drop-in, as ``python -m mmlosses swap`` does, and builds it. With
--check it also runs one step of stock and of ours, for one config of each
distinct set of heads and losses, each in a process of its own. The record
keeps what was compared before; delete it to start anew. The table goes into
configs/guides/stock_configs.md.
"""
from __future__ import annotations
import argparse
import importlib
import json
import multiprocessing
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import torch
from arguments import parse_names
from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from pages import CONFIGS, ROOT, write_block

from mmlosses.checks.batches import types_of
from mmlosses.checks.configs import loss_configs
from mmlosses.checks.swaps import Swap, find_swaps, swapped
from mmlosses.cli import config_folder, explain, write_whole
from mmlosses.commands.check_config import quiet
from mmlosses.commands.swap import compare, judge

PROJECTS = ('mmdet', 'mmpose')
PAGE = CONFIGS / 'guides/stock_configs.md'
SECONDS = 300  # for one comparison
SIZES = (128, 256, 512)  # sides of fake pictures: the smallest that serves


class Entry(NamedTuple):
    """One stock config."""
    project: str
    path: Path
    cfg: Config
    swaps: List[Swap]

    @property
    def kind(self) -> Tuple[Any, ...]:
        """Its heads and losses."""
        heads = {name for name in types_of(self.cfg.model) if 'Head' in name}
        return tuple(sorted(heads)), tuple(
            sorted({x.stock
                    for x in self.swaps}))


def read(project: str) -> List[Entry]:
    """Every config of a project that has a model with a loss."""
    importlib.import_module(f'{project}.models')
    init_default_scope(project)
    entries = []
    for path in sorted(config_folder(project).glob('**/*.py')):
        if '_base_' in path.parts:
            continue
        try:
            cfg = Config.fromfile(path)
        except (OSError, ConfigParsingError) as cause:
            # Its base is not in the wheel.
            print(f'{path.name} cannot be read: {explain(cause)}')
            continue
        if 'model' in cfg:
            # Some are classifiers of mmpretrain.
            with DefaultScope.overwrite_default_scope(
                    cfg.get('default_scope')):
                swaps = find_swaps(cfg)
            if swaps:
                entries.append(Entry(project, path, cfg, swaps))
    return entries


def problem(loss: Dict[str, Any], known: Dict[str, str]) -> str:
    """Build a loss and return what went wrong, or ''."""
    key = repr(loss)
    if key not in known:
        arguments = dict(loss)
        # DETRHead makes one weight for each class of the two.
        if arguments.pop('bg_cls_weight', None) is not None:
            arguments['class_weight'] = None
        try:
            MODELS.build(arguments)
            known[key] = ''
        except Exception as cause:
            known[key] = explain(cause)
    return known[key]


def build_all(entries: List[Entry]) -> Counter:
    """Build the losses of all configs, and print those that fail."""
    count: Counter = Counter()
    known: Dict[str, str] = {}
    failed: Counter = Counter()
    for entry in entries:
        model = swapped(entry.cfg, entry.swaps).to_dict()['model']
        losses = dict(loss_configs(model, 'model'))
        problems = []
        for swap in entry.swaps:
            text = (
                problem(losses[swap.path], known)
                if swap.ours else swap.reason)
            problems.append(text)
            if text:
                failed[f'{swap.stock}: {text}'] += 1
        count['configs'] += 1
        count['whole'] += not any(problems)
        count['losses'] += len(problems)
        count['built'] += problems.count('')
    for text, number in failed.most_common():
        print(f'{number} times {text}')
    return count


def run_pair(entry: Entry, queue: Any) -> None:
    """Compare a step of stock and of ours, in a process of its own."""
    torch.set_num_threads(1)
    # Distillers name the configs of their teachers from there.
    os.chdir(config_folder(entry.project).parent)
    init_default_scope(entry.cfg.get('default_scope', entry.project))
    with quiet():
        for size in SIZES:
            stock, ours = compare(entry.cfg, entry.swaps, size)
            if stock.trains or 'too small' not in stock.why:
                break
    queue.put(judge(stock, ours, entry.swaps))


def compared(entry: Entry) -> Tuple[str, int]:
    """The verdict on a config and its exit status."""
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    process = context.Process(target=run_pair, args=(entry, queue))
    process.start()
    try:
        return queue.get(timeout=SECONDS)
    except Exception:
        return f'could not be judged: no answer in {SECONDS} s', 2
    finally:
        process.kill()
        process.join()


def compare_all(project: str, entries: List[Entry], record: Path) -> None:
    """Compare one config of each kind; the shortest name is the smallest."""
    kinds: Dict[Any, Entry] = {}
    for entry in sorted(entries, key=lambda entry: len(str(entry.path))):
        kinds.setdefault(entry.kind, entry)
    for entry in kinds.values():
        done = json.loads(record.read_text()) if record.exists() else {}
        name = f'{project}::{entry.path.relative_to(config_folder(project))}'
        if name in done:
            continue
        done[name] = compared(entry)
        print(name, *done[name], flush=True)
        write_whole(record, json.dumps(done, indent=1) + '\n')


def plain(text: str) -> str:
    """A verdict for a table: without paths of this machine."""
    text = re.sub('^could not be judged: stock (could not be judged: )?', '',
                  text)
    text = re.sub(r'(/[\w.-]+)+/', '', text)
    return text.replace('|', r'\|').replace('\n', ' ')


def main() -> None:
    """Build, compare and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('project', nargs='*', help=f'of {PROJECTS}')
    parser.add_argument('--check', action='store_true')
    parser.add_argument(
        '--record', type=Path, default=ROOT / 'build/stock_configs.json')
    args = parse_names(parser, 'project', PROJECTS)
    args.record.parent.mkdir(exist_ok=True)
    projects = args.project or PROJECTS
    counts = {}
    for project in projects:
        with quiet():
            entries = read(project)
        counts[project] = build_all(entries)
        print(project, dict(counts[project]))
        if args.check:
            compare_all(project, entries, args.record)
    if set(projects) == set(PROJECTS) and args.record.exists():
        write_page(counts, json.loads(args.record.read_text()))


def write_page(counts: Dict[str, Counter], done: Dict[str, Any]) -> None:
    """Write the tables."""
    lines = [
        '| project | configs | all losses build | loss configs | build '
        '| compared | agree | differ | stock does not run |',
        '| --- ' * 9 + '|'
    ]
    for project, count in counts.items():
        statuses = [
            status for name, (_, status) in done.items()
            if name.startswith(f'{project}::')
        ]
        cells = [
            project, count['configs'], count['whole'], count['losses'],
            count['built'],
            len(statuses),
            statuses.count(0),
            statuses.count(1),
            statuses.count(2)
        ]
        lines.append('| ' + ' | '.join(map(str, cells)) + ' |')
    write_block(PAGE, 'stock configs', '\n'.join(lines))
    for status, name in ((1, 'differ'), (2, 'not judged')):
        rows = [
            f'| `{config}` | {plain(text)} |'
            for config, (text, found) in sorted(done.items())
            if found == status
        ]
        write_block(
            PAGE, name, '\n'.join(['| config | why |', '| --- | --- |', *rows])
            if rows else 'None.')


if __name__ == '__main__':
    main()
