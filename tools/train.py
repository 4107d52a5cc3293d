"""Train a config, see :mod:`mmlosses.commands.train`."""
from mmlosses.commands.train import main

if __name__ == '__main__':
    main()
