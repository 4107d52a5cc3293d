"""Check a config, see :mod:`mmlosses.commands.check_config`."""
from mmlosses.commands.check_config import main

if __name__ == '__main__':
    main()
