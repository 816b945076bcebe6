"""A class of the run folder to JSON values and back: strict, so that a key nobody knows is never passed over.

A class is a frozen dataclass whose fields are the keys of the file. One that goes on from another (a `ResponseLine` is
a `Response` with its place) stands as flat in the file as it does in the code.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Generic, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import StoreError

Value = TypeVar("Value")
STRICT = ConfigDict(extra="forbid", protected_namespaces=())
FIX = "restore the file from a copy, or read it with the version of the harness that wrote it"


class Codec(Generic[Value]):
    """Reads and writes one class, or a union of classes whose key `kind` tells them apart."""

    def __init__(self, kind: Any, what: str, left_out: Collection[str] = ()) -> None:
        """kind: the class or union; what: how messages name one of them; left_out: fields whose key is not written
        where they hold nothing, with which the defaults inside of what they do hold are left out too.
        """
        # a union takes the settings, and its members inherit them; a class alone would refuse them
        self._adapter: TypeAdapter[Value | None] = TypeAdapter(kind | None, config=STRICT)
        self._what, self._left_out = what, frozenset(left_out)

    def read(self, content: Any, where: str = "") -> Value:
        """Returns the value of JSON values. Raises StoreError for an unknown key, a missing one or a wrong value."""
        try:
            found = self._adapter.validate_python(content)
        except ValidationError as error:
            raise self._broken(error, where) from None
        if found is None:
            raise StoreError(f"this is no {self._what}: null", where=where, fix=FIX)
        return found

    def write(self, value: Value) -> dict[str, object]:
        """Returns the JSON values of a value, in the order of its fields."""
        short = bool(self._left_out)
        dumped = self._adapter.dump_python(value, mode="json", by_alias=True, exclude_defaults=short)
        found = cast("dict[str, object]", dumped)
        if not short:
            return found
        names = cast("Any", value).__dataclass_fields__
        return {
            name: found[name] if name in found else getattr(value, name)
            for name in names
            if name in found or name not in self._left_out
        }

    def _broken(self, error: ValidationError, where: str) -> StoreError:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        if not key:
            return StoreError(f"this is no {self._what}: {first['msg']}", where=where, fix=FIX)
        known = {"unexpected_keyword_argument": "is unknown", "missing": "is missing"}
        why = known.get(first["type"], f"is wrong: {first['msg']}")
        return StoreError(f"this is no {self._what}: key '{key}' {why}", where=where, fix=FIX)
