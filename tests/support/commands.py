"""A command run in this process, as from a shell."""

from __future__ import annotations

import sys

import pytest

from harness.cli import app


def harness(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Returns exit code, stdout and stderr of a command."""
    argv, sys.argv = sys.argv, ["harness", *arguments]
    try:
        app.main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv = argv
    captured = capsys.readouterr()
    return code, captured.out, captured.err
