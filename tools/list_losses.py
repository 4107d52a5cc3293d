"""List the losses, see :mod:`mmlosses.commands.list_losses`."""
from mmlosses.commands.list_losses import main

if __name__ == '__main__':
    main()
