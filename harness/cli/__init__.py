"""The door: commands of about ten lines, each calling `harness.api` and printing what it returns.

Results go to stdout, progress and log to stderr. Exit codes: 0 done, 1 a check failed, 2 a mistake in what was given,
3 the run is incomplete, 130 interrupted.

A new command: a function here that says in its docstring when to use it, and a line in `COMMANDS` of `app`.
"""

from harness.cli.app import main

__all__ = ["main"]
