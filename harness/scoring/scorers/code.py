"""Scorer of programs, by running their tests. That needs a sandbox, and there is none yet: nothing is run."""

from __future__ import annotations

from typing import Any

from harness.config import named_functions
from harness.errors import TaskError


def code(expected: Any, answer: Any) -> float:
    """Raises TaskError: what a model wrote is never run outside a sandbox."""
    raise TaskError("answers are code, which is not run without a sandbox", where="score: code")


def needs_sandbox(spec: Any) -> bool:
    """Tells if a `score:` key judges answers by running them."""
    return any(
        named_functions.name_of(step) == "code" for step in (spec if isinstance(spec, list | tuple) else [spec]) if step
    )
