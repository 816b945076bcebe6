"""Finds the answer in what a model wrote: text in, the answer or None out.

    extract: number                              a name
    extract: {after: "A:"}                       a name and its first option
    extract: {regex: {pattern: ..., pick: last}}    a name and its options
    extract: [{after: "A:"}, number]             one after another, each on what the one before found

None says that the text holds no such answer; an extractor never guesses. Each is a function of the text, EXTRACTORS
is the one list of them. An extractor of one's own is a function here, a line there, and a test.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from harness.config import named_functions
from harness.errors import TaskError
from harness.scoring.labels import label
from harness.scoring.letters import letter
from harness.scoring.numbers import Decimals, Percent, numbers, plain_number, scaled
from harness.scoring.plain_text import Pattern, bounded, compiled, matches

Json = dict[str, object] | list[Any]  # what JSON calls an object or an array
Answer = str | Json | None
Pick = Literal["first", "last"]


def extract(spec: Any, text: str, labels: Sequence[str] = ()) -> Answer:
    """Returns the answer that `spec` finds in a text, None if there is none.

    `labels` are the task's, for extractors that need them. Of a text longer than reading.MAX_CHARS only the first and
    the last part are read. Raises TimeoutError for a pattern of the task file that takes too long.
    """
    answer: Answer = bounded(text)
    for step in spec if isinstance(spec, list | tuple) else [spec]:
        answer = named_functions.call(EXTRACTORS, step, answer, labels=labels) if isinstance(answer, str) else None
    return answer


def check_spec(spec: Any, where: str) -> None:
    """Raises TaskError for an `extract:` key that names an unknown extractor, option or value."""
    steps = list(spec) if isinstance(spec, list | tuple) else [spec]
    for step in steps or [None]:
        named_functions.check(EXTRACTORS, step, where, "extractor")


# --- text ------------------------------------------------------------------------------------------------------------


def text(text: str) -> str | None:
    """Returns the whole text without white space around it."""
    return text.strip() or None


def raw(text: str) -> str:
    """Returns the text as it is, white space and all. An empty text is an answer too, for the scorer to judge."""
    return text


def first_line(text: str) -> str | None:
    """Returns the first line that is not blank."""
    return text.strip().partition("\n")[0].strip() or None


def after(text: str, *, marker: str | list[str] = "the answer is", pick: Pick = "last") -> str | None:
    """Returns the rest of the text after a marker in any case, without a colon before and a full stop after it."""
    words = [marker] if isinstance(marker, str) else marker
    found = list(re.finditer("|".join(map(re.escape, words)), text, re.IGNORECASE))
    if not found:
        return None
    rest = text[found[0 if pick == "first" else -1].end() :].strip()
    return rest.removeprefix(":").lstrip().removesuffix(".").rstrip() or None


def regex(text: str, *, pattern: Pattern, group: int | str | None = None, pick: Pick = "first") -> str | None:
    """Returns what a pattern matches: the group asked for, else the first group that is not empty, else all of it.

    Flags stand in the pattern, as in `(?i)answer: (.*)`.
    """
    found = matches(pattern, text)
    match = next(found, None) if pick == "first" else next(iter(deque(found, maxlen=1)), None)
    if match is None:
        return None
    if group is not None:
        if group not in range(compiled(pattern).groups + 1) and group not in compiled(pattern).groupindex:
            raise TaskError(f"the pattern has no group {group!r}", where=f"regex: {pattern}", fix="count its brackets")
        return (match[group] or "").strip() or None
    answer = next((one for one in match.groups() if one), "") if match.groups() else match[0]
    return answer.strip() or None


BRACES = re.compile(r"(\\(?:boxed|fbox)\s*\{)|\\.|[{}]", re.DOTALL)


def boxed(text: str) -> str | None:
    r"""Returns the content of the last \boxed{...} that is complete, braces balanced; a later one may be cut off."""
    begun: list[tuple[int, bool]] = []  # where each open brace's content begins, and whether it is a box's
    start = end = -1
    for brace in BRACES.finditer(text):
        if brace[1] or brace[0] == "{":
            begun.append((brace.end(), brace[1] is not None))
        elif brace[0] == "}" and begun:
            at, box = begun.pop()
            if box and at > start:
                start, end = at, brace.start()
    return text[start:end].strip() or None if start >= 0 else None


FENCE = re.compile(r"(```+|~~~+)\s*([\w+#.-]*)[^`]*")


def _fenced(text: str) -> list[tuple[str, str]]:
    """Returns language and body of each fenced block that is closed, in order."""
    blocks, mark, language, start = [], "", "", 0
    lines = text.split("\n")
    for i, line in enumerate(map(str.strip, lines)):
        if mark and line == mark:
            blocks.append((language, "\n".join(lines[start:i])))
            mark = ""
        elif not mark and (opening := FENCE.fullmatch(line)):
            mark, language, start = opening[1], opening[2].lower(), i + 1
    return blocks


def code(text: str, *, language: str | None = None, pick: Pick = "first") -> str | None:
    """Returns the inside of a closed fenced code block; with `language`, of one that names it."""
    blocks = [body for name, body in _fenced(text) if language is None or name == language.lower()]
    return (blocks[0 if pick == "first" else -1].rstrip() or None) if blocks else None


# --- numbers ---------------------------------------------------------------------------------------------------------


def number(text: str, *, pick: Pick = "last", decimal: Decimals = "auto", percent: Percent = "ignore") -> str | None:
    """Returns a number of the text as plain digits: "1,234.50 EUR" is "1234.5". How it is read: numbers.numbers.

    One that cannot be read (a fraction, a date, 10.0.0.1) is no answer, and the one beside it is not taken instead.
    """
    found = next(numbers(text, decimal, backwards=pick == "last"), None)
    value = None if found is None else scaled(found, percent)
    return None if value is None else plain_number(value)


STRICT = re.compile(r"#### (-?[0-9.,]+)")


def strict_number(text: str) -> str | None:
    """Returns the number right after the first "#### ", as plain digits: the form that GSM8K's answers have."""
    match = STRICT.search(text)
    return number(match[1], decimal="point") if match else None


# --- JSON ------------------------------------------------------------------------------------------------------------

MAX_DEPTH = 64  # of nested objects and lists
BEGINS = re.compile(r"""\{\s*["'}]|\[\s*(?:["{\[\]tfn]|-?\d)""")  # what tells JSON from a brace in prose
BRACKET = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)


def _number(digits: str) -> int | str:
    return int(digits) if len(digits) <= 300 else digits  # Python refuses to read an integer of thousands of digits


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


DECODER = json.JSONDecoder(parse_int=_number, parse_constant=_refuse, strict=False)


def read_json(text: str, *, pick: Pick = "first") -> Json | None:
    """Returns the first (or last) complete JSON object or list of the text, with or without a fence or words around.

    Fenced blocks come before the text around them. Objects and lists inside a broken or cut off one do not count, and
    a list of plain numbers, as in a citation [1], only if there is nothing else. NaN is not JSON.
    """
    for part in [*(body for _, body in _fenced(text)), text]:
        found = list(_json_values(part))
        values = [v for v in found if not (isinstance(v, list) and all(isinstance(x, int) for x in v))] or found
        if values:
            return values[0 if pick == "first" else -1]
    return None


def _json_values(text: str) -> Iterator[Json | None]:
    """Yields the JSON values of a text that are not inside another; None, as the last, for one that is cut off."""
    position = 0
    while match := BEGINS.search(text, position):
        start = match.start()
        try:
            value, position = DECODER.raw_decode(text, start)
            if _depth(text, start, position) <= MAX_DEPTH:
                yield value
            continue
        except (ValueError, RecursionError):
            end = _end(text, start)
        if end is None:
            yield None
            return
        position = end


def _end(text: str, start: int) -> int | None:
    """Returns the position after the bracket that closes the one at `start`, None if there is none."""
    depth = 0
    for match in BRACKET.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(match[0], 0)
        if depth == 0 and match[0] in "}]":
            return match.end()
    return None


def _depth(text: str, start: int, end: int) -> int:
    """Returns how deep the brackets between two positions are nested, at most."""
    depth = deepest = 0
    for match in BRACKET.finditer(text, start, end):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(match[0], 0)
        deepest = max(deepest, depth)
    return deepest


# --- the list --------------------------------------------------------------------------------------------------------


def _check_several(several: Any) -> Any:
    if not isinstance(several, list) or not several:
        raise ValueError("write a list of extractors")
    for spec in several:
        check_spec(spec, "")
    return several


Several = Annotated[Any, AfterValidator(_check_several)]


def first_of(text: str, *, extractors: Several, labels: Sequence[str] = ()) -> Answer:
    """Returns what the first of several extractors finds that finds anything."""
    return next((answer for spec in extractors if (answer := extract(spec, text, labels)) is not None), None)


EXTRACTORS: Mapping[str, Callable[..., Answer]] = {
    "text": text,
    "raw": raw,
    "first_line": first_line,
    "after": after,
    "regex": regex,
    "boxed": boxed,
    "code": code,
    "number": number,
    "strict_number": strict_number,
    "letter": letter,
    "label": label,
    "json": read_json,
    "first_of": first_of,
}
