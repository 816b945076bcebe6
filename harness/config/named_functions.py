"""A named function with options, as a task file writes it: `number`, `{number: {pick: first}}`, `{after: "A:"}`.

A value that is no mapping belongs to the function's first option. The known options and their types are those of the
function's signature, so a table of functions is all there is to keep.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Unpack, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from harness.errors import TaskError, nearest

Table = Mapping[str, Callable[..., Any]]
Spec = str | Mapping[str, object]


def check(table: Table, spec: Any, where: str, kind: str) -> None:
    """Raises TaskError for a spec that names an unknown function or option, or gives an option a wrong value."""
    name, options = _named(spec, where, kind)
    if name not in table:
        raise TaskError(f"unknown {kind} '{name}'", where=where, fix=nearest(name, table))
    known, required, open_type = _options(table[name])
    for option, value in _mapping(table[name], options).items():
        if option not in known and open_type is None:
            fix = nearest(option, known) or "leave it out"
            raise TaskError(f"{kind} '{name}' has no option '{option}'", where=where, fix=fix)
        try:
            TypeAdapter(known.get(option, open_type)).validate_python(value, strict=True)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            what = f"{kind} '{name}': option '{option}' cannot be {value!r:.60}"
            raise TaskError(what, where=where, fix=message) from None
        except TaskError as error:  # a spec inside a spec
            raise TaskError(error.what, where=f"{where}: {option}{error.where}", fix=error.fix) from None
    for option in required - set(_mapping(table[name], options)):
        fix = f"{{{name}: {{{option}: ...}}}}"
        raise TaskError(f"{kind} '{name}' needs the option '{option}'", where=where, fix=fix)


def call(table: Table, spec: Spec, *values: Any, **given: Any) -> Any:
    """Returns `function(*values, **options)` for a spec that `check` accepts.

    Of `given`, the function receives what its signature asks for and the spec does not set itself.
    """
    name, options = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    function = table[name]
    wanted = {key: value for key, value in given.items() if key in _parameters(function)}
    return function(*values, **(wanted | _mapping(function, options)))


def name_of(spec: Spec) -> str:
    """Returns the function's name."""
    return spec if isinstance(spec, str) else next(iter(spec))


def _named(spec: Any, where: str, kind: str) -> tuple[str, Any]:
    if isinstance(spec, str):
        return spec, None
    if isinstance(spec, Mapping) and len(spec) == 1:
        name, options = next(iter(spec.items()))
        return str(name), options
    raise TaskError(f"cannot read {spec!r:.60} as {kind}", where=where, fix="write a name, or {name: {option: value}}")


def _mapping(function: Callable[..., Any], options: Any) -> dict[str, object]:
    if options is None:
        return {}
    if isinstance(options, Mapping):
        return {str(key): value for key, value in options.items()}
    first = next((name for name in _parameters(function) if name != "row"), "value")
    return {first: options}


@cache
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    kinds = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
    names = tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds)
    listed = _listed(function)
    return names if listed is None else (*names[:-1], *listed.__annotations__)  # `**` comes last


@cache
def _options(function: Callable[..., Any]) -> tuple[dict[str, Any], set[str], Any]:
    """Returns the type of each option, the options without default, and the type of any further option (or None)."""
    hints = get_type_hints(function, include_extras=True)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "row"]  # never an option
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    known, required = {p.name: hints[p.name] for p in named}, {p.name for p in named if p.default is p.empty}
    if (listed := _listed(function)) is not None:
        return {**known, **get_type_hints(listed, include_extras=True)}, required | listed.__required_keys__, None
    return known, required, next((hints[p.name] for p in parameters if p.kind is p.VAR_KEYWORD), None)


def _listed(function: Callable[..., Any]) -> Any:
    """Returns the TypedDict that lists the options of a function, as in `**options: Unpack[Options]`; None without."""
    hints = get_type_hints(function, include_extras=True)
    further = next((p for p in inspect.signature(function).parameters.values() if p.kind is p.VAR_KEYWORD), None)
    hint = None if further is None else hints[further.name]
    return get_args(hint)[0] if get_origin(hint) is Unpack else None
