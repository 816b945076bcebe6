"""What a task says an answer must be: a JSON Schema, a regular expression or a list of choices, and whether it is."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import regex

from harness.config.task import ConstrainConfig
from harness.errors import TaskError
from harness.scoring.plain_text import PATTERN_SECONDS, compiled
from harness.values import Form, Sample


def form_of(config: ConstrainConfig, sample: Sample) -> Form:
    """Returns what the answer to one sample must be. Raises TaskError where it has no choices to be one of."""
    if config.json_schema is not None:
        return Form(schema=json.dumps(config.json_schema))
    if config.regex is not None:
        return Form(regex=config.regex)
    choices = config.choices or sample.labels
    if not choices:
        raise TaskError(
            "constrain: labels is for a choice task that is asked as text",
            where=f"task {sample.task}",
            fix="write the list: `constrain: {choices: [...]}`",
        )
    return Form(choices=choices)


def check_form(config: ConstrainConfig, where: str) -> None:
    """Raises TaskError for a schema or a pattern that says nothing: invalid, before any question of support."""
    try:
        if config.json_schema is not None:
            _validator(json.dumps(config.json_schema))
        if config.regex is not None:
            compiled(config.regex)
    except regex.error as error:
        raise TaskError(f"constrain: regex: {error}", where=where, fix="mend it") from None
    except ValueError as error:
        raise TaskError(f"constrain: {error}", where=where, fix="mend it") from None


def is_valid(form: Form, text: str) -> bool:
    """Returns whether a text is what it must be, white space around it aside. TimeoutError: a slow pattern."""
    text = text.strip()
    if form.choices:
        return text in form.choices
    if form.regex:
        return compiled(form.regex).fullmatch(text, timeout=PATTERN_SECONDS) is not None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return bool(_validator(form.schema).is_valid(value))


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    """Returns the validator of a schema given as JSON text. Nothing that a schema refers to is ever fetched."""
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry

    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "its top"
        raise ValueError(f"schema: {error.message[:200]} (at {place})") from None
    return Draft202012Validator(json.loads(schema), registry=Registry())
