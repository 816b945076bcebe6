"""`python -m harness` is the command `harness`."""

from harness.cli.app import main

if __name__ == "__main__":  # a process it starts imports this file again, under another name
    main()
