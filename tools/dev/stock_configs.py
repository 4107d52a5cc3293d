"""Put mmlosses into every stock config, build the losses, and compare steps.

    python tools/dev/stock_configs.py [PROJECT ...] [--check] [--record FILE]
        [--wheel PROJECT=FOLDER ...]

It reads every config that the wheel of a project holds, prefixes each loss
that has a drop-in, as ``python -m mmlosses swap`` does, and builds it. With
--check it also runs one step of stock and of ours, for one config of each
distinct set of heads and losses, each in a process of its own. The record
keeps what was compared before; delete it to start anew. --wheel names the
package in an unpacked wheel of a project that cannot be imported, of which
only the losses are built; one without a row in the tables, as mmrazor, lends
its losses to the configs of the others. The tables go into
configs/guides/stock_configs.md and README.md; they keep what is said of the
other projects.
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
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from pages import CONFIGS, ROOT, read_block, write_block
from stand_ins import register_stand_ins, version_of

from mmlosses.checks.batches import types_of
from mmlosses.checks.configs import loss_configs
from mmlosses.checks.swaps import Swap, find_swaps, swapped
from mmlosses.cli import config_folder, explain, write_whole
from mmlosses.commands.check_config import quiet
from mmlosses.commands.swap import compare, judge

PROJECTS = ('mmdet', 'mmpose', 'mmseg', 'mmpretrain')
# Of the tables.
ORDER = ('mmdet', 'mmpose', 'mmseg', 'mmpretrain', 'mmrotate', 'mmdet3d',
         'mmyolo')
PAGE = CONFIGS / 'guides/stock_configs.md'
SECONDS = 900  # for one comparison, ViT-L included
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


def read(project: str, wheel: Path | None) -> List[Entry]:
    """Every config of a project that has a model with a loss."""
    if wheel is None:
        importlib.import_module(f'{project}.models')
        folder = config_folder(project)
    else:
        folder = wheel / '.mim/configs'
    init_default_scope(project)
    entries = []
    for path in sorted(folder.glob('**/*.py')):
        if '_base_' in path.parts:
            continue
        try:
            cfg = Config.fromfile(path, import_custom_modules=wheel is None)
        except Exception as cause:
            # Its base is not in the wheel, or in a package that is missing,
            # or it raises by itself: a config is code.
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


def build_all(entries: List[Entry]) -> Tuple[Counter, Counter]:
    """Build the losses of all configs, and count those that fail and why."""
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
                failed[swap.stock, text] += 1
        count['configs'] += 1
        count['whole'] += not any(problems)
        count['losses'] += len(problems)
        count['built'] += problems.count('')
    return count, failed


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


def wheel_of(text: str) -> Tuple[str, Path]:
    """Check a project and its folder on a command line."""
    project, _, folder = text.partition('=')
    if not (Path(folder) / '.mim/configs').is_dir():
        raise argparse.ArgumentTypeError(
            f'there is no {Path(folder) / ".mim/configs"}')
    return project, Path(folder)


def main() -> None:
    """Build, compare and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('project', nargs='*', help=f'of {PROJECTS}')
    parser.add_argument('--check', action='store_true')
    parser.add_argument('--wheel', type=wheel_of, action='append', default=[])
    parser.add_argument(
        '--record', type=Path, default=ROOT / 'build/stock_configs.json')
    args = parse_names(parser, 'project', PROJECTS)
    args.record.parent.mkdir(exist_ok=True)
    wheels = dict(args.wheel)
    for project, wheel in wheels.items():
        register_stand_ins(project, wheel)
    projects = args.project or ([] if wheels else PROJECTS)
    for project in (*projects, *[x for x in wheels if x in ORDER]):
        wheel = wheels.get(project)
        with quiet():
            entries = read(project, wheel)
        count, failed = build_all(entries)
        print(project, dict(count))
        if args.check and wheel is None:
            compare_all(project, entries, args.record)
        record = args.record
        done = json.loads(record.read_text()) if record.exists() else {}
        verdicts = {
            name: verdict
            for name, verdict in done.items()
            if name.startswith(f'{project}::')
        }
        version = (
            importlib.import_module(project).__version__
            if wheel is None else version_of(wheel))
        write_page(project, version, count, failed, verdicts)


def update_rows(page: Path, name: str, head: str, project: str,
                rows: List[str]) -> List[str]:
    """Replace the rows of a project in a table, and return all rows."""
    kept = [
        row for row in read_block(page, name).split('\n')[2:]
        if not re.match(rf'\| `?{project}\W', row)
    ]
    # Projects in our order, and their rows in the order of the table.
    rows = sorted([*kept, *rows], key=order)
    line = '| --- ' * (head.count('|') - 1) + '|'
    write_block(page, name,
                '\n'.join([head, line, *rows]) if rows else 'None.')
    return rows


def order(row: str) -> int:
    """The place of a project among the rows."""
    name = re.split(r'\W+', row)[1]
    return ORDER.index(name) if name in ORDER else len(ORDER)


def write_page(project: str, version: str, count: Counter, failed: Counter,
               verdicts: Dict[str, Any]) -> None:
    """Write the rows of a project into the tables."""
    statuses = [status for _, status in verdicts.values()]
    compared: List[Any] = ['-'] * 4
    if statuses:
        compared = [len(statuses), *map(statuses.count, range(3))]
    else:  # what the page says of it stays
        row = re.search(rf'^\| {project} .*$',
                        read_block(PAGE, 'stock configs'), re.M)
        if row:
            compared = row[0].strip('| ').split(' | ')[-4:]
    cells = [
        project, version, count['configs'], count['whole'], count['losses'],
        count['built'], *compared
    ]
    rows = update_rows(
        PAGE, 'stock configs',
        '| project | version | configs | all losses build | loss configs '
        '| build | compared | agree | differ | stock does not run |', project,
        ['| ' + ' | '.join(map(str, cells)) + ' |'])
    write_block(ROOT / 'README.md', 'stock projects', short_table(rows))
    update_rows(PAGE, 'left', '| project | loss | loss configs | why |',
                project, [
                    f'| {project} | `{stock}` | {number} | {plain(text)} |'
                    for (stock, text), number in failed.most_common()
                ])
    for status, name in ((1, 'differ'), (2, 'not judged')):
        if statuses:
            update_rows(PAGE, name, '| config | why |', project, [
                f'| `{config}` | {plain(text)} |'
                for config, (text, found) in sorted(verdicts.items())
                if found == status
            ])


def short_table(rows: List[str]) -> str:
    """The projects, with what builds and what agrees with stock."""
    lines = [
        '| project | stock configs | all losses build | same step as stock |',
        '| --- ' * 4 + '|'
    ]
    for row in rows:
        (name, version, configs, whole, _, _, _, agree, differ,
         _) = row.strip('| ').split(' | ')
        same = '-' if agree == '-' else (
            f'{agree} of {int(agree) + int(differ)}')
        lines.append(f'| {name} {version} | {configs} | {whole} | {same} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
