"""Put mmlosses into a config, see :mod:`mmlosses.commands.swap`."""
from mmlosses.commands.swap import main

if __name__ == '__main__':
    main()
