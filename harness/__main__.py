"""`python -m harness` is the command `harness`."""

import os
import sys

# Python puts the working folder first on its path: a `yaml.py` among somebody's data would be run as ours.
if sys.path[:1] == [os.getcwd()] != [os.path.dirname(os.path.dirname(__file__))]:
    del sys.path[0]

from harness.cli.app import main

if __name__ == "__main__":  # a process it starts imports this file again, under another name
    main()
