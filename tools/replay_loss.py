"""Replay a call of a loss, see :mod:`mmlosses.commands.replay_loss`."""
import sys

from mmlosses.commands.replay_loss import main

if __name__ == '__main__':
    sys.exit(main())
