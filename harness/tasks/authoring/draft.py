"""The keys of the task file that follow from the roles of the columns: kind, prompt, choices or extractor and scorer.

A way to judge is written down only after it has judged right, empty and wrong answers of these very rows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.scoring.cells import Row
from harness.scoring.value_text import text_of as as_text
from harness.tasks.authoring.roles import CLASSES, LOOKED_AT, Roles, answer_is, is_assertion, is_label, key_of
from harness.tasks.data.columns import Column
from harness.tasks.data.lazy import made
from harness.tasks.data.passages import texts_in
from harness.tasks.data.prepare import PREPARE
from harness.tasks.kinds import task_from
from harness.tasks.samples import alike
from harness.tasks.self_test import self_test
from harness.tasks.task import Task
from harness.values import Sample

LONG_ANSWER = 12  # words: longer ones are compared by the words they share
FEW = 12  # choices that a prompt can list
SHORT = 200  # characters of all of them together
TRIED = 300  # answers on which a scorer is tried before it is written down


def task_of(
    columns: Sequence[Column], roles: Roles, rows: Sequence[Row], path: Path, spellings: Mapping[str, str]
) -> tuple[dict[str, object], dict[str, str]]:
    """Returns the keys of the task file after `data`, and comments for some of them.

    `spellings` says which label each of the answers is.
    """
    column = next(c for c in columns if c.name == roles.answer)
    if roles.choices:
        return _choice_task(roles, rows)
    if not is_assertion(column.name) and is_label(column) and not _is_count(column):
        task, remarks = _label_task(column, roles, spellings)
    else:
        task, remarks = _generate_task(column, columns, roles, rows, path)
    if "prepare" in task or not _have_passages(columns, roles, rows):
        return task, remarks
    return {"prepare": "passages", **task}, remarks | {"prepare": "a list of texts is shown as text, a line for each"}


def _have_passages(columns: Sequence[Column], roles: Roles, rows: Sequence[Row]) -> bool:
    """Returns whether inputs are lists or objects of texts, which the answer is not."""
    nested = {c.name for c in columns if c.kind in ("list", "object")}
    shown = nested & set(roles.inputs)
    texts = all(any(texts_in(row.get(name)) for row in islice(rows, LOOKED_AT)) for name in shown)
    return bool(shown) and roles.answer not in nested and texts


def spellings_of(answers: Mapping[str, int], fold: bool) -> dict[str, str]:
    """Returns the label that each answer is: of those alike but for case and blanks the commonest, if they are folded.

    Blanks around a label make no other one in either case.
    """
    counts: Counter[str] = Counter()
    for text, count in answers.items():
        counts[text.strip()] += count
    commonest: dict[str, str] = {}
    for text, _ in counts.most_common() if fold else ():
        commonest.setdefault(alike(text), text)
    return {text: commonest.get(alike(text), text) for text in counts}


def _is_count(column: Column) -> bool:
    """Returns whether an answer of few values is a number to be worked out, and not a class."""
    return column.kind == "number" and key_of(column.name) not in CLASSES and (column.distinct or 0) > 2


def _choice_task(roles: Roles, rows: Sequence[Row]) -> tuple[dict[str, object], dict[str, str]]:
    way = answer_is(rows, roles.answer, roles.choices)
    several = len(roles.choices) > 1
    ends = Counter(as_text(row.get(roles.inputs[-1])).rstrip()[-1:] in tuple('.?!:)"”') for row in rows)
    task: dict[str, object] = {"kind": "choice"}
    if several:
        task["prompt"] = _prompt(roles.inputs, "{choices}\nAnswer:")
        task |= {"choices": {"columns": list(roles.choices)}, "continuation": "letter"}
    elif ends[True] >= ends[False]:
        task |= {"prompt": _prompt(roles.inputs, "Answer:"), "choices": roles.choices[0]}
    else:  # unfinished sentences: the choices go on where they stop
        task |= {"prompt": _prompt(roles.inputs, ""), "choices": roles.choices[0]}
    remarks = {"choices": "the model's log-probability of each is compared; `continuation: letter` scores A, B, ..."}
    return task | {"answer": roles.answer, "answer_is": way}, remarks if not several else {}


def _label_task(column: Column, roles: Roles, spellings: Mapping[str, str]) -> tuple[dict[str, object], dict[str, str]]:
    labels = sorted(set(spellings.values()))
    listed = ", ".join(map(_braces, labels))
    few = len(labels) <= FEW and len(listed) <= SHORT
    plain = all(label.isprintable() and "," not in label for label in labels)
    shown = f"Choices: {listed}\n" if few and plain else ""
    task: dict[str, object] = {
        "kind": "choice",
        "prompt": _prompt(roles.inputs, shown + _asks(column.name)),
        "choices": labels,
        "answer": column.name,
        "answer_is": "text",
    }
    return task, {"choices": "every answer in the data; add those that could occur and do not, such as none of these"}


def _generate_task(
    column: Column, columns: Sequence[Column], roles: Roles, rows: Sequence[Row], path: Path
) -> tuple[dict[str, object], dict[str, str]]:
    values = made(rows, lambda _, row: row[column.name])
    texts = [as_text(value) for value in values[:5000]]
    lengths = sorted(map(len, texts))
    usual = lengths[len(lengths) * 19 // 20]
    base: dict[str, object] = {"kind": "generate", "prompt": _prompt(roles.inputs, _asks(column.name))}
    if column.kind in ("list", "object"):
        base["prompt"] = _prompt(roles.inputs, _asks_json(column, values))
    elif column.kind == "text" and not _is_asked(column, roles) and _unfinished(roles.inputs, rows):
        base["prompt"] = _prompt(roles.inputs, "")
    base |= {"answer": column.name, "max_tokens": _tokens(usual)}
    remarks = {"max_tokens": f"95 % of the answers have at most {usual} characters, the longest {lengths[-1]}"}
    if not any("\n" in text.strip() for text in texts) and column.kind not in ("list", "object"):
        base["stop"] = ["\n"]
        remarks["stop"] = "take it out for models that think before they answer"
    if is_assertion(column.name):
        base |= {"prepare": "promptfoo", "answer": "expected"}
    for way in _ways(column, values):
        task = base | way
        if _passes(task, columns, rows, path):
            return task, remarks
    raise DataError(
        f"no scorer here can judge the answers in column '{column.name}' ({column.kind})",
        where=str(path),
        fix="use texts, numbers, JSON objects, or lists of texts; or another column: --answer COLUMN",
    )


def _ways(column: Column, values: Sequence[Any]) -> Iterator[dict[str, object]]:
    """Yields ways to find and judge the answers, the most fitting first; the first that passes its test is used."""
    if is_assertion(column.name):
        yield {"extract": "text", "score": "promptfoo"}
        return
    if column.kind == "object":
        yield {"extract": "json", "score": {"fields": _field_types(values)}}
        return
    if column.kind == "list":
        yield {"extract": "json", "score": "entities"}
        yield {"extract": "json", "score": "multi_label"}
        return
    if all(re.search(r"#### -?[\d.,]+\s*$", as_text(value)) for value in values):  # worked solutions, as in GSM8K
        yield {
            "extract": "number",
            "score": {"exact_match": {"ignore": [",", r"(?s).*#### ", r"\.$"], "collapse_whitespace": True}},
        }
    if column.kind == "number":
        yield {"extract": "number", "score": "number"}
    if column.words > LONG_ANSWER:
        yield {"extract": "text", "score": ["token_f1", "text"]}
    yield {"extract": "text", "score": "text"}
    yield {"extract": "text", "score": {"exact_match": {"collapse_whitespace": True}}}


def _passes(task: Mapping[str, object], columns: Sequence[Column], rows: Sequence[Row], path: Path) -> bool:
    """Returns whether right, empty and wrong answers are judged as they must be, on the first rows."""
    config = task_from({"task": "draft", "data": {"file": path.name}, **task}, str(path))
    prepare = PREPARE[config.prepare] if config.prepare else dict
    tried = []
    for number, row in enumerate(rows[:TRIED] if config.prepare is None else rows, 1):
        try:
            tried.append(prepare(row))
        except ValueError as error:
            fix = "take these rows out, or write a task file of your own: see `harness tasks`"
            raise DataError(str(error), where=f"{path}, row {number}", fix=fix) from None
    samples = tuple(Sample(str(i), "draft", row, row[str(config.answer)]) for i, row in enumerate(tried))
    found = self_test(Task(config, path, samples, (), "", ""))
    return found.passed and not found.may_pass


def _field_types(values: Sequence[Any]) -> dict[str, str]:
    """Returns the type of each field by its values: number, yes/no, date, list, object, else text."""
    found: dict[str, set[str]] = {}
    for value in values:
        for name, held in (json.loads(value) if isinstance(value, str) else value).items():
            kinds = found.setdefault(name, set())
            if held not in (None, "", [], {}):
                kinds.add(_field_type(held))
    return {name: kinds.pop() if len(kinds) == 1 else "text" for name, kinds in found.items()}


def _field_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        return "set"
    if isinstance(value, dict):
        return "fields"
    return "date" if re.fullmatch(r"\d{4}-\d\d-\d\d", value) else "text"


def _prompt(inputs: Sequence[str], ending: str) -> str:
    if len(inputs) == 1 and not ending:
        return f"{{{inputs[0]}}}"
    lines = [f"{_title(name)}: {{{name}}}" for name in inputs]
    return "\n".join([*lines, ending]) if ending else "\n".join([*lines[:-1], f"{{{inputs[-1]}}}"])


def words(name: str) -> str:
    """Returns the name of a column as words."""
    return re.sub(r"[_\s]+", " ", name).strip()


def _title(name: str) -> str:
    text = words(name)
    return text[:1].upper() + text[1:]


def _asks(name: str) -> str:
    general = {"label", "labels", "target", "targets", "gold", "expected", "output", "completion", "response"}
    return (
        "Answer:" if key_of(name) in general or "answer" in key_of(name) or is_assertion(name) else f"{_title(name)}:"
    )


def _asks_json(column: Column, values: Sequence[Any]) -> str:
    if column.kind == "list":
        first: Any = next((value for value in values if value), [])
        keys = list(first[0]) if isinstance(first, list) and first and isinstance(first[0], dict) else []
        of = f" of objects with {', '.join(keys[:12])}" if keys else ""
        return f"JSON list{of}:"
    names = list(_field_types(values))
    shown = ", ".join(_braces(name) for name in names[:30])
    return f"JSON with {shown}:"


def _braces(name: str) -> str:
    return name.replace("{", "{{").replace("}", "}}")


def _is_asked(column: Column, roles: Roles) -> bool:
    """Returns whether the input is something to answer, and no text to go on with."""
    asking = {"question", "query", "ticket", "message", "problem", "instruction"}
    return is_assertion(column.name) or bool({key_of(name) for name in roles.inputs} & asking)


def _unfinished(inputs: Sequence[str], rows: Sequence[Row]) -> bool:
    ends = [as_text(row.get(inputs[-1])).rstrip()[-1:] for row in rows[:2000]]
    return sum(end in tuple('.?!:)"”') for end in ends) < len(ends) / 2


def _tokens(characters: int) -> int:
    """Returns room for an answer: a token for two characters, as names and numbers take, and some for words around it,
    a fence or line breaks, in steps of 32. A model that stops by itself leaves it unused.
    """
    return min(1024, (characters // 2 + 32 + 31) // 32 * 32)


def kind_in_words(task: Mapping[str, object]) -> str:
    """Returns what kind of answer a task asks for."""
    if "choices" in task:
        choices = task["choices"]
        return f"one of {len(choices)} labels" if isinstance(choices, list) else "one of the choices"
    score = task["score"]
    name = next(iter(score)) if isinstance(score, Mapping) else score
    return f"generated, scored by {name}"
