"""What all classes of written files share: an unknown key is refused with the nearest known one; nothing changes later.

    YAML -> validate() -> RunConfig(ModelConfig..., TaskConfig..., MachineConfig)

After that nothing reads the command line or a YAML file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from harness.config.yaml_file import YamlFile
from harness.errors import ConfigError, HarnessError, nearest

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=100)]
TASK_NAME = (
    r"^(lm_eval:)?[A-Za-z0-9][A-Za-z0-9._+-]*(\[[A-Za-z0-9._+-]+\])?$"  # in brackets: which of the task's prompts
)
SHA256 = "^[0-9a-f]{64}$"
_FORMS = {  # in words, for people
    NAME: "a name has letters, digits and . _ + - only, and no blanks",
    TASK_NAME: "a name has letters, digits and . _ + - only, and no blanks",
    SHA256: "a sha256 has 64 digits from 0 to f",
}
_WORDS = {  # what pydantic says in words of programmers
    "float_parsing": "no number",
    "float_type": "no number",
    "finite_number": "no finite number",
    "int_parsing": "no whole number",
    "int_type": "no whole number",
    "int_from_float": "no whole number",
    "model_type": "no keys with values, as {key: value}",
}


class Strict(BaseModel):
    """A frozen mapping that names its unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in data:
                if key not in known and key not in cls.model_fields:
                    raise PydanticCustomError("unknown_key", "{key}|{hint}", {"key": key, "hint": nearest(key, known)})
        return data


def _of_truth(value: Any) -> Any:
    """Returns `true` and `false` as a switch that is on or off."""
    return ("on" if value else "off") if isinstance(value, bool) else value


Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_of_truth)]


def _by_shape(value: Any) -> str:
    """Returns which member of a union a value is meant to be, so that messages speak of that one only."""
    if isinstance(value, str):
        return "(text)"
    return "(list)" if isinstance(value, list | tuple) else "(keys)"


Config = TypeVar("Config", bound=Strict)


def validate(kind: type[Config], data: Mapping[str, object], where: str) -> Config:
    """Returns `data` as a checked value; `where` is what messages name. Raises ConfigError."""
    return _checked(kind, YamlFile(Path(where), data, {}), ConfigError)


def _checked(kind: type[Config], file: YamlFile, error_kind: type[HarnessError]) -> Config:
    try:
        return kind.model_validate(file.data)
    except ValidationError as error:
        first = error.errors()[0]
    # pydantic puts the tags of union members among the keys; those are no keys of the file
    key = tuple(part for part in first["loc"] if not (isinstance(part, str) and part.startswith("(")))
    named = ".".join(map(str, key))
    if first["type"] == "meaningless_key":
        what, _, fix = first["msg"].partition("|")
        raise error_kind(what, where=file.where((*key, first["ctx"]["key"])), fix=fix)
    if first["type"] == "no_backend":
        what, _, hint = first["msg"].partition("|")
        raise error_kind(what, where=file.where((*key, "backend")), fix=hint)
    if first["type"] == "unknown_key":
        unknown, _, hint = first["msg"].partition("|")
        raise error_kind(f"unknown key '{unknown}'", where=file.where((*key, unknown)), fix=hint)
    if first["type"] == "missing":
        raise error_kind(f"key '{named}' is missing", where=file.where(key), fix=f"add `{named}: ...`")
    told = _FORMS.get((first.get("ctx") or {}).get("pattern", "")) or _WORDS.get(first["type"])
    message = told or first["msg"][0].lower() + first["msg"][1:]
    given = f" (given: {_short(first['input'])})" if key and not isinstance(first["input"], dict | list) else ""
    raise error_kind(f"{named}: {message}{given}" if named else message, where=file.where(key), fix=_fix(first))


def _fix(error: ErrorDetails) -> str:
    if error["type"] == "literal_error":
        return nearest(error["input"], re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    if error["type"] == "string_type":
        return "put the value in quotes"
    return "mend this value"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
