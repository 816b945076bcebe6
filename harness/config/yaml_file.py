"""YAML files, read safely: plain values only, no duplicate keys, bounded size, and a line number for every key.

Follows YAML 1.2 for plain words: `no`, `on` and dates stay text; only `true` and `false` are booleans.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import ConfigError, nearest

MAX_BYTES = 1_000_000  # the largest hand-written file seen is a few kB; a bigger one is data in the wrong place
MAX_DEPTH = 30
MAX_VALUES = 30_000  # keys, texts, lists and their ends: ten times the longest file seen, read in under a second

_Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc,valid-type]  # which of the two is known when it runs
    """SafeLoader with YAML 1.2 booleans and numbers, and without dates."""


_DROPPED = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _DROPPED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_NUMBER_START = list("-+0123456789.")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false|True|False)$"), list("tfTF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), _NUMBER_START)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+)$|^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"
    ),
    _NUMBER_START,
)


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The content of one file, with the line where each key stands."""

    path: Path
    data: Any
    lines: Mapping[tuple[str | int, ...], int]  # key path -> 1-based line

    def where(self, key: tuple[str | int, ...] = ()) -> str:
        """Returns "file:line" of the key, or of its nearest parent that stands in the file."""
        while key and key not in self.lines:
            key = key[:-1]
        line = self.lines.get(key)
        return f"{self.path}:{line}" if line else str(self.path)


def read_yaml(path: Path) -> YamlFile:
    """Returns the file's content. Raises ConfigError for anything that is not a plain, bounded YAML mapping."""
    if not path.is_file() and path.exists() and not path.is_dir():
        raise ConfigError("this is a device or pipe, not a file", where=str(path), fix="save it in a file")
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise ConfigError(f"no file {path}", fix=nearest(path.name, siblings))
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"larger than {MAX_BYTES} bytes", where=str(path), fix="keep data in a data file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text (byte {error.start})", where=str(path), fix="save it as UTF-8") from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> YamlFile:
    """Returns the content of `text`; `path` is what messages name."""
    try:
        _check_events(text, path)
        node = yaml.compose(text, Loader=_Loader)
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError("not a mapping of keys to values", where=str(path), fix="start with `key: value` lines")
        lines: dict[tuple[str | int, ...], int] = {}
        data = _value(node, (), lines, path)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"not valid YAML: {problem}", where=place, fix="mend the line above") from None
    except ValueError as error:
        raise ConfigError(f"not valid YAML: {error}", where=str(path), fix="mend the value") from None
    return YamlFile(path, data, lines)


def _check_events(text: str, path: Path) -> None:
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader), 1):
        if number > MAX_VALUES:
            what = f"more than {MAX_VALUES:,} keys and values"
            raise ConfigError(what, where=str(path), fix="keep data in a data file")
        line = f"{path}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"alias '*{event.anchor}' is not allowed", where=line, fix="write the value out")
        tag = getattr(event, "tag", None)
        if tag:
            raise ConfigError(f"tag '{tag}' is not allowed", where=line, fix="write a plain value")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigError(f"nested deeper than {MAX_DEPTH} levels", where=line, fix="flatten it")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _value(node: yaml.Node, at: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int], path: Path) -> Any:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = f"{path}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError("a key is not plain text", where=line, fix="use a word as the key")
            key = key_node.value
            if key in result:
                raise ConfigError(f"key '{key}' stands twice", where=line, fix="keep one of them")
            result[key] = _value(value_node, (*at, key), lines, path)
            lines[(*at, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*at, i), lines, path) for i, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)  # the third and last sort of node
    return _scalar(node)


def _scalar(node: yaml.ScalarNode) -> Any:
    kind = node.tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return node.value.lower() == "true"
    if kind == "int":
        return int(node.value)
    if kind == "float":
        return float(node.value)
    return node.value
