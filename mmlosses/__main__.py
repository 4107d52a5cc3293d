"""Run a command: ``python -m mmlosses check_config CONFIG``."""
from __future__ import annotations
import importlib
import sys
from pathlib import Path

from .cli import did_you_mean

COMMANDS = {
    'list_losses': 'find a loss by a word',
    'check_config': 'check that a config trains, on a fake batch',
    'swap': 'put mmlosses into a config, and compare it with stock',
    'train': 'train any mmengine config',
    'compare': 'train a config with several losses, and rank them',
    'class_weights': 'class weights from a COCO annotation file',
    'replay_loss': 'replay the call that LossDoctorHook saved',
}


def main() -> int | None:
    """Run the command that the first argument names, with the others."""
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name in COMMANDS:
        sys.argv[:2] = [f'python -m mmlosses {name}']
        return importlib.import_module(f'mmlosses.commands.{name}').main()
    if name not in ('-h', '--help'):
        sys.exit(f'error: {name} is none of the tools {", ".join(COMMANDS)}' +
                 did_you_mean(name, COMMANDS))
    print('python -m mmlosses TOOL [ARGUMENT ...]\n')
    for command, purpose in COMMANDS.items():
        print(f'  {command:15}{purpose}')
    configs = Path(__file__).resolve().parent / '.mim/configs'
    print(f'\nThe configs are in {configs}')
    return None


if __name__ == '__main__':
    sys.exit(main())
