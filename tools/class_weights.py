"""Compute class weights, see :mod:`mmlosses.commands.class_weights`."""
from mmlosses.commands.class_weights import main

if __name__ == '__main__':
    main()
