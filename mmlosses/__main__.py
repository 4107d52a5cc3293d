"""Run a tool: ``python -m mmlosses check_config CONFIG``.

The tools and configs are in the folder ``.mim`` of the package, where mim
looks for them.
"""
from __future__ import annotations
import runpy
import sys
from pathlib import Path

from .cli import did_you_mean

FOLDER = Path(__file__).resolve().parent / '.mim'
TOOLS = {
    'list_losses': 'find a loss by a word',
    'check_config': 'whether a config trains, by a fake batch',
    'train': 'train any mmengine config',
    'class_weights': 'class weights from a COCO annotation file',
    'replay_loss': 'repeat the call that LossDoctorHook kept',
}


def main() -> None:
    """Run the tool that the first argument names, with the others."""
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name in TOOLS:
        path = FOLDER / 'tools' / f'{name}.py'
        sys.argv[:2] = [f'python -m mmlosses {name}']
        # As for a script: the tools import each other by name.
        sys.path.insert(0, str(path.parent))
        runpy.run_path(str(path), run_name='__main__')
        return
    if name not in ('-h', '--help'):
        sys.exit(f'error: {name} is none of the tools {", ".join(TOOLS)}' +
                 did_you_mean(name, TOOLS))
    print('python -m mmlosses TOOL [ARGUMENT ...]\n')
    for tool, purpose in TOOLS.items():
        print(f'  {tool:15}{purpose}')
    print(f'\nThe configs are in {FOLDER / "configs"}')


if __name__ == '__main__':
    main()
