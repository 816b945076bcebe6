"""The most tokens that a request can use, read off the body that is sent: whatever put its keys there.

A token is at least one byte of what is given, and a server writes no more than the body allows: limit and budget of
thinking, times the answers that are asked for. Keys are known by any of their names and at any depth, since servers
differ in where they look; of several limits the highest counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

OVERHEAD = 512  # tokens that a chat template may add to a prompt
A_MESSAGE = 16  # that it may add to each message
TOOLS = 1024  # that a provider writes before the tools it was given

_LIMITS = frozenset(
    {
        *("maxtokens", "maxcompletiontokens", "maxoutputtokens", "maxnewtokens", "maxgeneratedtokens"),
        *("maxtokenstosample", "maxlength", "maxgenlen", "npredict", "numpredict"),
    }
)
_BUDGETS = frozenset({"budgettokens", "thinkingbudget", "reasoningbudget", "thinkingtokenbudget", "reasoningtokens"})
_THOUGHT = frozenset({"reasoning", "thinking", "thinkingconfig"})  # what stands in there bounds the thinking alone
_ANSWERS = frozenset({"n", "bestof", "candidatecount", "numreturnsequences", "numgenerations"})
_SAID = frozenset({"messages", "contents", "prompt", "system", "systeminstruction", "input", "instructions"})
_SETTINGS = frozenset(
    {"model", "streamoptions", "stop", "stopsequences", "servicetier", "user"}
)  # give nothing to read
# What may hold keys of anybody's choice: a schema may have a field `max_tokens`
_CONTENT = _SAID | {
    *("tools", "functions", "responseformat", "responseschema", "responsejsonschema", "jsonschema", "metadata"),
    *("structuredoutputs", "guidedjson", "outputconfig", "prediction", "chattemplatekwargs", "logitbias", "stop"),
}
_ELSEWHERE = {  # what is read without standing in the body, or is charged apart
    "websearchoptions": "a search of the web",
    "plugins": "what plugins bring",
    "cachedcontent": "a prompt that is kept at the provider",
    "previousresponseid": "a conversation that is kept at the provider",
    "models": "other models",
}
_NO_TEXT = ("image", "audio", "video", "file", "document", "inline_data", "inlineData", "fileData", "file_data")
_OWN_TOOL = frozenset({"function", "input_schema", "function_declarations", "functionDeclarations"})
_ABOUT_TOOL = frozenset({"type", "name", "description", "strict", "cache_control"})
_USUAL = frozenset({"", "default", "standard", "auto", "standardonly", "ondemand"})


class Unbounded(Exception):
    """What a request uses has no bound that its body tells. The text says what it hangs on."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most tokens of one request, and how it is to be processed."""

    input: int
    output: int
    processing: str = "standard"  # or the service tier that is asked for
    kept_for_an_hour: bool = False  # tokens of the prompt may be

    def raised(self, input: int, output: int) -> Ceiling:
        """Returns the ceiling with so many more tokens."""
        return Ceiling(self.input + input, self.output + output, self.processing, self.kept_for_an_hour)


def ceiling(body: Mapping[str, object]) -> Ceiling:
    """Returns the most tokens that the request with a body can use. Raises Unbounded."""
    settings = list(_settings(body))
    for key, value in settings:
        if value and (what := _ELSEWHERE.get(key)):
            raise Unbounded(what)
    _refuse_untold(body)
    limit = _limit(settings)
    thought = sum(max(0, _count(value) or 0) for key, value in settings if key in _BUDGETS)
    answers = max((_count(value) or 1 for key, value in settings if key in _ANSWERS), default=1)
    predicted = sum(_leaves(value) for key, value in _flat(body) if key == "prediction")  # charged where it was wrong
    return Ceiling(
        _given(body),
        (limit + thought) * max(1, answers) + predicted,
        _processing(settings),
        any(key == "ttl" and str(value) not in {"5m", "300s"} for key, value in _every(body)),
    )


def together(parts: Sequence[Ceiling]) -> Ceiling:
    """Returns the most tokens of several requests that are one attempt; of none, nothing."""
    return Ceiling(
        sum(part.input for part in parts),
        sum(part.output for part in parts),
        next((part.processing for part in parts), "standard"),
        any(part.kept_for_an_hour for part in parts),
    )


def limit_set_by(extra: Mapping[str, object]) -> object:
    """Returns the limit of an answer that settings beside a request set; None where they set none."""
    return next((value for key, value in _settings(extra) if key in _LIMITS), None)


def _limit(settings: Sequence[tuple[str, object]]) -> int:
    """Returns the highest limit of an answer. Raises Unbounded where there is none, or one that says none."""
    found = [_count(value) for key, value in settings if key in _LIMITS]
    known = [count for count in found if count is not None]
    if not known or min(known) < 0:  # -1 is as long as it likes
        raise Unbounded("an answer without a limit of its tokens")
    return max(1, *known)


def _processing(settings: Sequence[tuple[str, object]]) -> str:
    """Returns the service tier that is asked for; `standard` for the usual one."""
    asked = [str(value) for key, value in settings if key in {"servicetier", "speed"} and value is not None]
    return next((word for word in asked if _plain(word) not in _USUAL), "standard")


def _given(body: Mapping[str, object]) -> int:
    """Returns the most tokens of the prompt: bytes of all that is given to read, and what a template adds."""
    total, messages, tools = 0, 0, 0
    for key, value in _flat(body):
        if key in _SAID:
            total += _leaves(value)
            messages += len(value) if isinstance(value, list | tuple) else 1
        elif key not in _SETTINGS:
            tools += TOOLS * (key in {"tools", "functions"} and bool(value))
            text = value if isinstance(value, str) else "" if _scalar(value) else _json(value)
            total += len(text.encode("utf-8", "surrogatepass"))
    return total + max(OVERHEAD, A_MESSAGE * messages) + tools


def _refuse_untold(body: Mapping[str, object]) -> None:
    """Raises Unbounded for parts of a message that are no text, and for tools that the provider runs itself."""
    for key, value in _flat(body):
        if key in _SAID and (kind := next(_no_text(value), None)):
            raise Unbounded(f"a part of the prompt that is no text ({kind})")
        if key == "tools" and isinstance(value, list | tuple):
            for tool in value:
                if not isinstance(tool, Mapping) or not _OWN_TOOL & set(tool) or set(tool) - _OWN_TOOL - _ABOUT_TOOL:
                    raise Unbounded("a tool that the provider runs")


def _no_text(value: object) -> Iterator[str]:
    """Yields the kinds of the parts that are no text."""
    if isinstance(value, Mapping):
        kinds = (str(value.get("type", "")), *map(str, value))
        yield from (kind for kind in kinds if kind.removeprefix("input_").startswith(_NO_TEXT))
    if isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _no_text(part)


def _settings(body: Mapping[str, object], thought: bool = False) -> Iterator[tuple[str, object]]:
    """Yields (key, value) of all settings; a limit that stands under `reasoning` is a budget of the thinking."""
    for key, value in _flat(body):
        yield ("budgettokens" if thought and key in _LIMITS else key), value
        dumped = value.model_dump() if hasattr(value, "model_dump") else value  # an SDK's own type
        if isinstance(dumped, Mapping) and key not in _CONTENT:
            yield from _settings(dumped, thought or key in _THOUGHT)


def _every(value: object) -> Iterator[tuple[str, object]]:
    """Yields (key, value) at every depth, of contents too."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield _plain(str(key)), part
            yield from _every(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _every(part)


def _flat(body: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    return ((_plain(str(key)), value) for key, value in body.items())


def _plain(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _count(value: object) -> int | None:
    """Returns a number as servers read it, from text too; None for what is none."""
    try:
        return None if value is None or isinstance(value, bool) else int(float(str(value)))
    except (ValueError, OverflowError):
        return None


def _leaves(value: object) -> int:
    """Returns the bytes of all texts in a prompt."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        return sum(_leaves(part) for key, part in value.items() if key not in {"role", "type"})
    return sum(map(_leaves, value)) if isinstance(value, list | tuple) else 0


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
