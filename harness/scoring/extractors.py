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
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from harness.config import named_functions
from harness.errors import TaskError
from harness.scoring.plain_text import (
    Decimals,
    Pattern,
    Percent,
    bounded,
    compiled,
    fold,
    matches,
    numbers,
    plain_number,
    scaled,
    squash,
)

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


BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")


def boxed(text: str) -> str | None:
    r"""Returns the content of the last complete \boxed{...}, braces balanced."""
    found = None
    for match in BOXED.finditer(text):
        found = match.end()
    if found is None:
        return None
    depth = 1
    for brace in re.finditer(r"\\.|[{}]", text[found:]):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return text[found : found + brace.start()].strip() or None
    return None


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
    """Returns a number of the text as plain digits: "1,234.50 EUR" is "1234.5". How it is read: reading.numbers."""
    found = next(numbers(text, decimal, backwards=pick == "last"), None)
    return None if found is None else plain_number(scaled(found, percent))


STRICT = re.compile(r"#### (-?[0-9.,]+)")


def strict_number(text: str) -> str | None:
    """Returns the number right after the first "#### ", as plain digits: the form that GSM8K's answers have."""
    match = STRICT.search(text)
    return number(match[1], decimal="point") if match else None


# --- choices ---------------------------------------------------------------------------------------------------------

GAP = r"[\s*_`\"']{0,9}"
ANSWER_IS = (
    rf"\b(?:answer|choice|option|solution)\b{GAP}(?:\b(?:is|would\sbe|should\sbe|must\sbe)\b:?|[:=]){GAP}"
    rf"(?:(?:option|choice|letter)\b{GAP})?"
)
OPEN = r"[(\[{$]{0,3}"
# What may follow a letter that is an answer; "A" and "I" before a plain word are words themselves.
ENDED = r"(?=[)\]}.:,;!*_`\"'$\n]|\s*$|\s+(?:because|since|as|which|for|and|with)\b|\s*[-–—(])"
ALONE = r"(?!\s*(?:and|or|&|,|/)\s*\(?\w\b)"  # not the first of several


def letter(text: str, *, letters: str | None = None, labels: Sequence[str] = (), pick: Pick = "last") -> str | None:
    """Returns the letter of the choice that the text states; None if it states none, or leaves several open.

    Looked for in turn: nothing but the letter; "the answer is B", "Answer: (B)" or a boxed letter (`pick` decides
    between several); a line that opens with "B." or "(B)"; a letter in brackets. A letter within prose is no answer.
    `letters`: those of the task's labels that are one character long, else ABCD.
    """
    letters = letters or "".join(label for label in labels if len(label) == 1) or "ABCD"
    whole, stated, opening, bracketed = _letter_patterns(letters)
    if match := whole.fullmatch(text):
        return _as_written(match[1], letters)
    if said := [_as_written(_last_group(match), letters) for match in stated.finditer(text)]:
        return said[0 if pick == "first" else -1]
    for pattern in (opening, bracketed):
        if found := {_last_group(match) for match in pattern.finditer(text)}:
            return found.pop() if len(found) == 1 else None
    return None


def _last_group(match: re.Match[str]) -> str:
    """Returns the group that matched: each way to write a letter has one of its own."""
    return str(match[match.lastindex or 0])


@cache
def _letter_patterns(letters: str) -> tuple[re.Pattern[str], ...]:
    one, any_case = f"([{re.escape(letters)}])", f"([{re.escape(letters + letters.lower() + letters.upper())}])"
    right = r"\s+is\s+(?:(?:the|most|clearly|definitely)\s+){0,2}(?:correct|right|best|true)\b"
    return (
        re.compile(rf"[\W_]*{any_case}[\W_]*"),
        re.compile(
            rf"(?i:{ANSWER_IS}){OPEN}{any_case}{ENDED}"
            rf"|\\boxed\{{\s*(?:\\text\w*\{{)?\s*\(?{any_case}\)?\s*\}}"
            rf"|(?<!\w){one}[)\]*_`\"']{{0,4}}{right}"
        ),
        re.compile(rf"^[ \t]*[*_`]*(?:\({one}\)|{one}[*_`]*(?:[.)]|$)){ALONE}", re.MULTILINE),
        re.compile(rf"(?<!\w)\({one}\)"),
    )


def _as_written(found: str, letters: str) -> str:
    return next(letter for letter in letters if letter.lower() == found.lower())


SAID = re.compile(r"^(?:.*\b(?:is|as|be|to|choose|select|pick|it s)\s)?(?:the |a |an )?")
DENIED = re.compile(r"\b(?:not|no|nor|neither|never|t)(?: (?:a|an|the|about))? $")


def label(text: str, *, labels: Sequence[str] = ()) -> str | None:
    """Returns the one of `labels` that the text states, None if there is none or more than one.

    Case, punctuation, white space and _ or - between words do not count, unless two labels differ in nothing else.
    Looked for in turn: nothing but the label; clauses that are a label or say that "... is" it; any mention that is
    not denied ("not billing") and not part of a longer label. Two different labels found at one stage are no answer.
    """
    names, plain, mention = _label_patterns(tuple(map(str, labels)))
    if (whole := plain(text)) in names:
        return names[whole]
    clauses = [plain(clause) for clause in re.split(r"[.,;:!?\n—()]+", text)]
    stated = {names[c] for c in (*clauses, *(SAID.sub("", c, count=1) for c in clauses)) if c in names}
    found = stated or {names[name] for name in _mentions(mention, plain(text))}
    return found.pop() if len(found) == 1 else None


@cache
def _label_patterns(labels: tuple[str, ...]) -> tuple[dict[str, str], Callable[[str], str], re.Pattern[str]]:
    """Returns plain form -> label, how to bring a text to that form, and a pattern for the labels in such a text."""
    plain: Callable[[str], str] = str.strip
    for plain in (fold, lambda t: squash(t).casefold(), str.strip):
        names = {plain(label): label for label in labels}
        if len(names) == len(set(labels)) and "" not in names:
            break
    mention = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    if "".join(names).isascii():  # some other scripts set no spaces between words
        mention = rf"(?<!\w)(?:{mention})(?!\w)"
    return names, plain, re.compile(mention)


def _mentions(mention: re.Pattern[str], words: str) -> set[str]:
    """Returns the labels, in plain form, that the words hold and do not deny."""
    return {m[0] for m in mention.finditer(words) if not DENIED.search(words[max(0, m.start() - 20) : m.start()])}


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
