"""The door: commands of about ten lines, each calling the library."""

from harness.cli.app import main

__all__ = ["main"]
