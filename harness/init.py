"""A data file nobody has described -> a task file that runs as it is, and what a person should know about the data.

    found = look(Path("tickets.csv"))         guesses input, answer, id, cluster and the kind of task
    print(found.text())
    write(found, None)                        tickets.yaml, beside the data

Guesses are made from the names of the columns first, then from what stands in them. Whatever could be meant otherwise
is said, and can be told: `look(path, answer="team")`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.check import self_test
from harness.config import TaskConfig, TaskUse, validate
from harness.data import sibling_split
from harness.errors import ConfigError, DataError, HarnessError, nearest
from harness.formats import stem_of
from harness.inspect_data import Column, Table, as_text, columns_of, read_table
from harness.personal import personal_data
from harness.prepare import PREPARE
from harness.prompts import check_columns
from harness.reading import fold
from harness.similar import near_pairs
from harness.stats import detectable_gap
from harness.tasks import LETTERS, Task, load_task
from harness.values import Sample
from harness.yamlfile import parse_yaml

MOST_LABELS = 200  # more distinct answers than this are no list of choices
LONGEST_LABEL = 80  # characters
LONG_ANSWER = 12  # words: longer ones are compared by the words they share
TRIED = 300  # answers on which a scorer is tried before it is written down
LONGEST_CELL = 400_000  # characters: about 100,000 tokens, more than most models read

# Names of columns, likeliest first; folded, words joined by _.
ANSWERS: tuple[str, ...] = (
    *("expected", "answer", "answers", "expected_output", "expected_answer", "target", "targets", "gold", "gold_label"),
    *("final_label", "label", "labels", "correct", "correct_answer", "correct_option", "answerkey", "ground_truth"),
    *("reference_answer", "best_answer", "reference", "ideal", "output", "completion", "continuation", "response"),
    *("solution", "canonical_solution", "slots", "entities", "fields", "category", "class", "intent", "team", "topic"),
    *("sentiment", "truth", "summary", "translation", "result"),
)
INPUTS: tuple[str, ...] = (
    *("question", "query", "prompt", "input", "ticket", "message", "utterance", "problem", "instruction", "text"),
    *("sentence", "context", "ctx", "review", "comment", "claim", "email", "body", "description", "document"),
    *("passage", "article", "content", "source", "tokens", "user_input"),
)
BESIDE = {"context", "ctx", "passage", "document", "article", "paragraph", "background"}
BESIDE |= {"premise", "hypothesis", "title", "subject", "history"}  # shown with the main input
CLASSES = {"label", "labels", "class", "category", "gold", "rating", "grade", "stars", "score"}
IDS = re.compile(r"(_?id|_?key|uid|uuid|guid|ind|idx|index|ref|number|nr|no|\w+_(id|key|index|no|nr))")
CLUSTERS = re.compile(
    r"(user|customer|client|account|patient|session|conversation|thread|document|doc|group|question|article|passage"
    r"|author|speaker|case|template|subject|company|shop|vendor|page|file)(_?(id|index|no|nr|number|name|key))?"
)
TEST_SPLITS = ("test", "testing", "eval", "validation", "valid", "val", "dev")


@dataclass(frozen=True, slots=True)
class Roles:
    """What each column is for. `inputs` in the order in which the prompt shows them."""

    inputs: tuple[str, ...]
    answer: str
    id: str | None = None
    cluster: str | None = None
    split: str | None = None  # the value of column `split` that is asked about
    choices: tuple[str, ...] = ()  # one column that holds lists, or several that hold a choice each


@dataclass(frozen=True, slots=True)
class Found:
    """A file looked at: its columns, what they are taken for, the task that follows, and what stands out."""

    table: Table
    columns: tuple[Column, ...]
    roles: Roles
    task: Mapping[str, Any]  # the keys of the task file, without `data`
    remarks: Mapping[str, str]  # key of the task file -> a comment for its line
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Returns the report."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        parts = (f"{len(self.table.rows):,} rows", self.table.encoding, _counted(len(self.columns), "column"))
        yield f"{self.table.path.name}  {' · '.join(parts)}"
        width = min(28, max(len(column.name) for column in self.columns))
        for column in self.columns:
            role = self._role(column.name)
            line = f"  {_short(column.name, width):{width}}  {_described(column)}"
            yield f"{line:60}  -> {role}" if role else line
        yield from (f"  warn  {line}" for line in self.warnings)
        yield from (f"  info  {line}" for line in self.notes)

    def _role(self, name: str) -> str:
        roles = self.roles
        named = [
            *(["input"] if name in roles.inputs else []),
            *([f"answer ({_kind_in_words(self.task)})"] if name == roles.answer else []),
            *(["choices"] if name in roles.choices else []),
            *(["id"] if name == roles.id else []),
            *(["cluster"] if name == roles.cluster else []),
            *(["split"] if roles.split is not None and name == "split" else []),
        ]
        return ", ".join(named)

    def as_json(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        columns = [
            {"name": c.name, "kind": c.kind, "filled": c.filled, "empty": len(c.empty), "distinct": c.distinct}
            | {"median_words": c.words, "longest_characters": c.longest}
            for c in self.columns
        ]
        return {
            "file": str(self.table.path),
            "rows": len(self.table.rows),
            "encoding": self.table.encoding,
            "columns": columns,
            "roles": asdict(self.roles),
            "task": dict(self.task),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


# --- looking ---------------------------------------------------------------------------------------------------------


def look(
    path: Path,
    *,
    sheet: str | None = None,
    input: str | None = None,
    answer: str | None = None,
    id: str | None = None,
    cluster: str | None = None,
) -> Found:
    """Returns what a data file seems to be. Columns that are given are not guessed; "" for `id` or `cluster`: none.

    Raises DataError for a file that cannot be read or holds nothing that could be asked or answered, ConfigError for
    a column that it does not have.
    """
    table = read_table(path, sheet)
    every = columns_of(table.rows)
    for key, name in (("--input", input), ("--answer", answer), ("--id", id), ("--cluster", cluster)):
        if name and name not in {column.name for column in every}:
            what = f"{key} names column '{name}', which the file does not have"
            raise ConfigError(what, where=str(path), fix=nearest(name, [column.name for column in every]))
    split = _split(every)
    rows = _asked(table.rows, split)
    columns = columns_of(rows) if split else every
    roles, others = _roles(columns, rows, path, input, answer, id, cluster, split)
    _refuse_gaps(columns, roles, rows, path, split)
    task, remarks = _task(columns, roles, rows, path)
    kinds = _personal(columns, rows)
    task["sensitivity"] = "restricted" if kinds else "internal"
    remarks["sensitivity"] = "public, internal, or restricted: never leaves this machine"
    warnings = [*_doubts(columns, roles, others, task), *_same(roles, rows), *_labels(columns, roles, task)]
    warnings += [*_leaks(table, roles, split), *kinds]
    return Found(table, columns, roles, task, remarks, tuple(warnings), (*table.notes, *_scale(task, roles, rows)))


def _split(columns: Sequence[Column]) -> str | None:
    """Returns which value of a column `split` is asked about, None without such a column."""
    column = next((c for c in columns if c.name == "split" and c.kind == "text" and not c.empty), None)
    if column is None or column.distinct > 10:
        return None
    known = [name for name in TEST_SPLITS if name in column.counts]
    return known[0] if known else min(column.counts, key=lambda name: column.counts[name])


def _asked(rows: Sequence[Mapping[str, Any]], split: str | None) -> Sequence[Mapping[str, Any]]:
    return rows if split is None else [row for row in rows if row.get("split") == split]


def _key(name: str) -> str:
    return fold(name).replace(" ", "_")


def _roles(
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    path: Path,
    input: str | None,
    answer: str | None,
    id: str | None,
    cluster: str | None,
    split: str | None,
) -> tuple[Roles, tuple[str, ...]]:
    """Returns what the columns are for, and further columns that could be the answer as well."""
    by_name = {column.name: column for column in columns}
    free = [c for c in columns if c.kind != "empty" and not (split is not None and c.name == "split")]
    if id is None:
        id = next((c.name for c in free if _is_id(c) and c.name not in (input, answer)), None)
    usable = [c for c in free if c.name != id and c.name != input]
    answers = _answers(usable)
    if answer is None:
        if not answers:
            fix = "name it: --answer COLUMN; the columns are " + ", ".join(list(by_name)[:12])
            raise DataError("no column looks like an answer", where=str(path), fix=fix)
        answer = answers[0]
    choices = _choices(columns, rows, answer, path)
    others = tuple(name for name in answers if name != answer and not choices)
    taken = {answer, id, *choices}
    inputs = (input,) if input else _inputs([c for c in free if c.name not in taken], _promptfoo(answer), len(rows))
    if not inputs:
        fix = "name it: --input COLUMN; the columns are " + ", ".join(list(by_name)[:12])
        raise DataError("no column is left that could be the input", where=str(path), fix=fix)
    unusable = next((name for name in inputs if re.search(r"[{}\n]", name)), None)
    if unusable is not None:
        what = f"column {unusable!r} cannot stand in a prompt"
        raise DataError(what, where=str(path), fix="rename it without braces and line breaks")
    if cluster is None:
        cluster = next((c.name for c in free if c.name not in {*taken, *inputs} and _is_cluster(c)), None)
    return Roles(tuple(inputs), answer, id or None, cluster or None, split, choices), others


def _is_id(column: Column) -> bool:
    short = column.longest <= 80 and column.kind in ("text", "number")
    return short and column.unique and IDS.fullmatch(_key(column.name)) is not None


def _is_cluster(column: Column) -> bool:
    repeated = not column.empty and column.distinct is not None and 1 < column.distinct < column.filled
    return repeated and CLUSTERS.fullmatch(_key(column.name)) is not None


def _is_label(column: Column) -> bool:
    few = column.distinct is not None and 2 <= column.distinct <= min(MOST_LABELS, max(2, column.filled / 2))
    return few and column.longest <= LONGEST_LABEL and column.kind in ("text", "number", "yes/no")


def _promptfoo(name: str) -> bool:
    return re.fullmatch(r"__expected1?", name) is not None


def _answers(columns: Sequence[Column]) -> list[str]:
    """Returns the columns that could be the answer, likeliest first: by their names, else by few short values."""
    exact = [c.name for c in columns if _promptfoo(c.name)]
    if exact:
        return exact[:1]
    named = sorted(
        (c for c in columns if _key(c.name) in ANSWERS), key=lambda c: (bool(c.empty), ANSWERS.index(_key(c.name)))
    )
    if named:
        return [c.name for c in named]
    labels = [c.name for c in columns if _is_label(c) and not _is_cluster(c) and _key(c.name) not in INPUTS]
    if labels:
        return labels[::-1]  # what was added to a table stands to the right
    rest = [c.name for c in columns if _key(c.name) not in INPUTS]
    return rest[-1:] if len(columns) == 2 else []


def _inputs(columns: Sequence[Column], every: bool, n: int) -> tuple[str, ...]:
    if every:  # the variables of a promptfoo test
        return tuple(c.name for c in columns if not c.name.startswith("__"))
    named = sorted((c for c in columns if _key(c.name) in INPUTS), key=lambda c: INPUTS.index(_key(c.name)))
    texts = sorted((c for c in columns if c.kind == "text"), key=lambda c: -c.words)
    main = next(iter([*named, *texts, *columns]), None)
    if main is None:
        return ()
    return tuple(
        c.name
        for c in columns
        if c is main or (_key(c.name) in BESIDE and c.kind == "text" and len(c.empty) < n / 2 and not _is_label(c))
    )


def _choices(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], answer: str, path: Path) -> tuple[str, ...]:
    """Returns the column of lists, or the columns of single choices, among which every answer is found."""
    lists = [(c.name,) for c in columns if c.kind == "list" and c.name != answer]
    for names in (*lists, *_numbered(columns, answer)):
        if answer_is(rows, answer, names) is not None:
            return names
        values = [row.get(answer) for row in rows]
        offered = [_offered(row, names) for row in rows]
        if all(options is not None and _from_one(value, len(options)) for value, options in zip(values, offered)):
            raise DataError(
                f"the answers in column '{answer}' count from 1",
                where=str(path),
                fix="write the letter (A is the first), the choice itself, or count from 0",
            )
    return ()


def _from_one(value: Any, n: int) -> bool:
    text = as_text(value).strip()
    return text.isdecimal() and 1 <= int(text[:9]) <= n


def _numbered(columns: Sequence[Column], answer: str) -> list[tuple[str, ...]]:
    """Returns groups of columns such as A B C D, ans0 ans1, "Option 1" "Option 2"."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    pattern = re.compile(r"(?i)((?:option|choice|answer|ans|opt|alternative)?[ _-]?)([a-z]|\d\d?)")
    for column in columns:
        if column.name != answer and (match := pattern.fullmatch(column.name)):
            groups[match[1].lower()][match[2].upper()] = column.name
    found = []
    for marks in groups.values():
        for row in (LETTERS, [str(i) for i in range(26)], [str(i) for i in range(1, 27)]):
            names = []
            for mark in row:
                if mark not in marks:
                    break
                names.append(marks[mark])
            if len(names) >= 2 and len(names) == len(marks):
                found.append(tuple(names))
    return found


def _offered(row: Mapping[str, Any], names: Sequence[str]) -> list[str] | None:
    if len(names) > 1:
        values = [row.get(name) for name in names]
    else:
        value = row.get(names[0])
        values = parsed if isinstance(value, str) and (parsed := _list(value)) is not None else value
    if not isinstance(values, list) or len(values) < 2:
        return None
    plain = all(isinstance(one, str | int | float) and as_text(one) for one in values)
    return [str(one) for one in values] if plain else None


def _list(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def answer_is(rows: Sequence[Mapping[str, Any]], answer: str, names: Sequence[str]) -> str | None:
    """Returns how the answers name one of the choices: "text", "letter" or "index"; None if they do not."""
    offered = [_offered(row, names) for row in rows]
    values = [row.get(answer) for row in rows]
    if None in offered or any(isinstance(value, list | dict | bool) or value is None for value in values):
        return None
    pairs = [(str(value).strip(), options) for value, options in zip(values, offered)]
    ways = {
        "text": lambda text, options: text in options,
        "letter": lambda text, options: len(text) == 1 and 0 <= LETTERS.find(text.upper()) < len(options),
        "index": lambda text, options: text.isdecimal() and int(text[:9]) < len(options),
    }
    if all(isinstance(value, int) for value in values):
        ways = {"index": ways["index"]}
    return next((name for name, fits in ways.items() if all(fits(*pair) for pair in pairs)), None)


def _refuse_gaps(
    columns: Sequence[Column], roles: Roles, rows: Sequence[Mapping[str, Any]], path: Path, split: str | None
) -> None:
    column = next(c for c in columns if c.name == roles.answer)
    if column.empty:
        at = f"{path}, column '{column.name}'" + (f", split '{split}'" if split else "")
        what = f"{len(column.empty)} of {len(rows)} rows have no answer: {_rows(column.empty)}"
        raise DataError(
            what, where=at, fix="fill them in or take the rows out; or name another column: --answer COLUMN"
        )


# --- the task --------------------------------------------------------------------------------------------------------


def _task(
    columns: Sequence[Column], roles: Roles, rows: Sequence[Mapping[str, Any]], path: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the keys of the task file after `data`, and comments for some of them."""
    column = next(c for c in columns if c.name == roles.answer)
    if roles.choices:
        return _choice_task(roles, rows)
    if not _promptfoo(column.name) and _is_label(column) and not _is_count(column):
        return _label_task(column, roles)
    return _generate_task(column, columns, roles, rows, path)


def _is_count(column: Column) -> bool:
    """Returns whether an answer of few values is a number to be worked out, and not a class."""
    labelled = _key(column.name) in {
        "label",
        "labels",
        "class",
        "category",
        "gold",
        "rating",
        "grade",
        "stars",
        "score",
    }
    return column.kind == "number" and not labelled and column.distinct > 2


def _choice_task(roles: Roles, rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    way = answer_is(rows, roles.answer, roles.choices)
    several = len(roles.choices) > 1
    ends = Counter(as_text(row.get(roles.inputs[-1])).rstrip()[-1:] in tuple('.?!:)"”') for row in rows)
    task: dict[str, Any] = {"kind": "choice"}
    if several:
        task["prompt"] = _prompt(roles.inputs, "{choices}\nAnswer:")
        task |= {"choices": {"columns": list(roles.choices)}, "continuation": "letter"}
    elif ends[True] >= ends[False]:
        task |= {"prompt": _prompt(roles.inputs, "Answer:"), "choices": roles.choices[0]}
    else:  # unfinished sentences: the choices go on where they stop
        task |= {"prompt": _prompt(roles.inputs, ""), "choices": roles.choices[0]}
    remarks = {"choices": "the model's log-probability of each is compared; `continuation: letter` scores A, B, ..."}
    return task | {"answer": roles.answer, "answer_is": way}, remarks if not several else {}


def _label_task(column: Column, roles: Roles) -> tuple[dict[str, Any], dict[str, str]]:
    labels = sorted({text.strip() for text in column.counts})
    task: dict[str, Any] = {
        "kind": "choice",
        "prompt": _prompt(roles.inputs, _asks(column.name)),
        "choices": labels,
        "answer": column.name,
        "answer_is": "text",
    }
    return task, {"choices": "every answer in the data; add those that could occur and do not, such as none of these"}


def _generate_task(
    column: Column, columns: Sequence[Column], roles: Roles, rows: Sequence[Mapping[str, Any]], path: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    values = [row[column.name] for row in rows]
    texts = [as_text(value) for value in values[:5000]]
    lengths = sorted(map(len, texts))
    usual = lengths[len(lengths) * 19 // 20]
    base: dict[str, Any] = {"kind": "generate", "prompt": _prompt(roles.inputs, _asks(column.name))}
    if column.kind in ("list", "object"):
        base["prompt"] = _prompt(roles.inputs, _asks_json(column, values))
    elif column.kind == "text" and not _is_asked(column, roles) and _unfinished(roles.inputs, rows):
        base["prompt"] = _prompt(roles.inputs, "")
    base |= {"answer": column.name, "max_tokens": _tokens(usual)}
    remarks = {"max_tokens": f"95 % of the answers have at most {usual} characters, the longest {lengths[-1]}"}
    if not any("\n" in text.strip() for text in texts) and column.kind not in ("list", "object"):
        base["stop"] = ["\n"]
        remarks["stop"] = "take it out for models that think before they answer"
    if _promptfoo(column.name):
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


def _ways(column: Column, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yields ways to find and judge the answers, the most fitting first; the first that passes its test is used."""
    if _promptfoo(column.name):
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


def _passes(task: Mapping[str, Any], columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Returns whether right, empty and wrong answers are judged as they must be, on the first rows."""
    config = validate(TaskConfig, {"task": "draft", "data": {"file": path.name}, **task}, str(path))
    prepare = PREPARE[config.prepare] if config.prepare else dict
    tried = []
    for number, row in enumerate(rows[:TRIED] if config.prepare is None else rows, 1):
        try:
            tried.append(prepare(row))
        except ValueError as error:
            fix = "take these rows out, or write a task file of your own: see `harness tasks`"
            raise DataError(str(error), where=f"{path}, row {number}", fix=fix) from None
    samples = tuple(Sample(str(i), "draft", row, row[config.answer]) for i, row in enumerate(tried))
    return self_test(Task(config, path, samples, (), "", "")).passed


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


def _words(name: str) -> str:
    return re.sub(r"[_\s]+", " ", name).strip()


def _title(name: str) -> str:
    words = _words(name)
    return words[:1].upper() + words[1:]


def _asks(name: str) -> str:
    general = {"label", "labels", "target", "targets", "gold", "expected", "output", "completion", "response"}
    return "Answer:" if _key(name) in general or "answer" in _key(name) or _promptfoo(name) else f"{_title(name)}:"


def _asks_json(column: Column, values: Sequence[Any]) -> str:
    if column.kind == "list":
        first = next((value for value in values if value), [])
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
    return _promptfoo(column.name) or bool({_key(name) for name in roles.inputs} & asking)


def _unfinished(inputs: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bool:
    ends = [as_text(row.get(inputs[-1])).rstrip()[-1:] for row in rows[:2000]]
    return sum(end in tuple('.?!:)"”') for end in ends) < len(ends) / 2


def _tokens(characters: int) -> int:
    """Returns room for an answer: a token for three characters and some more, as a power of two."""
    return min(1024, max(16, 1 << (characters // 3 + 8).bit_length()))


def _kind_in_words(task: Mapping[str, Any]) -> str:
    if task["kind"] == "choice":
        fixed = isinstance(task["choices"], list)
        return f"one of {len(task['choices'])} labels" if fixed else "one of the choices"
    score = task["score"]
    name = score if isinstance(score, str) else next(iter(score))
    return f"generated, scored by {name}"


# --- what stands out -------------------------------------------------------------------------------------------------


def _doubts(columns: Sequence[Column], roles: Roles, others: Sequence[str], task: Mapping[str, Any]) -> Iterator[str]:
    by_name = {column.name: column for column in columns}
    if others:
        named = ", ".join(f"'{name}'" for name in others[:4])
        yield f"also could be the answer: {named}; '{roles.answer}' is taken. Otherwise: --answer COLUMN"
    answer = by_name[roles.answer]
    if answer.kind == "mixed":
        kinds = ", ".join(f"{count} {kind}" for kind, count in answer.kinds.items())
        yield f"the answers in '{answer.name}' are of mixed types ({kinds}): compared as text"
    if task["kind"] == "generate" and answer.distinct is not None and answer.longest <= LONGEST_LABEL:
        few = answer.distinct > MOST_LABELS and answer.distinct < answer.filled and answer.kind == "text"
        if few:
            yield (
                f"{answer.distinct:,} distinct answers in '{answer.name}': too many for a list of choices; "
                "they are generated and compared as text"
            )
    for name in roles.inputs:
        column = by_name[name]
        if column.empty:
            yield f"'{name}' is empty in {_counted(len(column.empty), 'row')}: {_rows(column.empty)}"
        if column.kind in ("list", "object"):
            yield f"'{name}' holds nested JSON ({column.kind}s): the prompt shows it as JSON"
        if column.kind == "mixed":
            yield f"'{name}' is of mixed types: {', '.join(f'{n} {kind}' for kind, n in column.kinds.items())}"
    for column in columns:
        if column.longest > LONGEST_CELL and column.name in {*roles.inputs, roles.answer, *roles.choices}:
            size = f"{column.longest / 1e6:.1f} million characters"
            yield f"row {column.longest_row} of '{column.name}' has {size}: more than models read, it would be cut"


def _same(roles: Roles, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields inputs that stand twice (case, punctuation and spacing aside), and those with different answers."""
    places: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows, 1):
        places[_input(row, (*roles.inputs, *roles.choices))].append(number)
    groups = [numbers for numbers in places.values() if len(numbers) > 1]
    if not groups:
        return
    again = sum(len(numbers) - 1 for numbers in groups)
    answers = [{as_text(rows[number - 1].get(roles.answer)).strip() for number in numbers} for numbers in groups]
    differing = [numbers for numbers, found in zip(groups, answers) if len(found) > 1]
    plural = "s" if again > 1 else ""
    line = f"{again} duplicate input{plural} ({_groups(groups)})"
    yield line + (f"; {len(differing)} with conflicting answers ({_groups(differing)})" if differing else "")


def _input(row: Mapping[str, Any], names: Iterable[str]) -> str:
    return fold("\n".join(as_text(row.get(name))[:20_000] for name in names))


def _labels(columns: Sequence[Column], roles: Roles, task: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(task.get("choices"), list):
        return
    counts = next(c.counts for c in columns if c.name == roles.answer)
    once = [name for name, count in counts.items() if count == 1]
    if once:
        named = ", ".join(f"'{_short(name, 30)}'" for name in once[:5])
        yield f"{_counted(len(once), 'label')} with one row only: {named}; a misspelling?"
    alike: dict[str, set[str]] = defaultdict(set)
    for name in counts:
        alike[fold(name) or name].add(name.strip())
    for names in alike.values():
        if len(names) > 1:
            yield f"labels that differ in case or punctuation only: {', '.join(sorted(names))}"


def _personal(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for column in columns:
        if column.kind in ("number", "yes/no", "empty") and column.longest < 12:
            continue
        if column.counts and column.longest < 10 and column.distinct < column.filled / 2:
            continue
        for kind, places in personal_data(as_text(row.get(column.name)) for row in rows).items():
            found[kind][column.name] = places
    lines = []
    for kind, by_column in found.items():
        places = sorted({place + 1 for held in by_column.values() for place in held})
        where = ", ".join(f"'{name}'" for name in list(by_column)[:3])
        plural = "es" if kind.endswith("s") else "s"
        lines.append(
            f"looks like {kind}{plural}: {_counted(len(places), 'row')} ({_rows(places)}) in {where} "
            "-> sensitivity: restricted"
        )
    return lines


def _leaks(table: Table, roles: Roles, split: str | None) -> Iterator[str]:
    """Yields how many inputs also stand in another split: of the same file, or of the file beside it."""
    others: list[tuple[str, list[str]]] = []
    if split is not None:
        names = dict.fromkeys(row.get("split") for row in table.rows)
        others = [
            (f"split '{name}'", [_input(row, roles.inputs) for row in table.rows if row.get("split") == name])
            for name in names
            if name != split
        ]
    else:
        for name in ("train", "training", "dev", "validation", "test"):
            beside = sibling_split(table.path, name)
            if beside is not None:
                try:
                    rows = read_table(beside).rows
                except HarnessError:
                    continue
                others.append((beside.name, [_input(row, roles.inputs) for row in rows]))
    asked = [_input(row, roles.inputs) for row in _asked(table.rows, split)] if others else []
    for name, texts in others:
        there = set(texts) - {""}
        exact = [i for i, text in enumerate(asked, 1) if text in there]
        if exact:
            yield f"{_counted(len(exact), 'input')} also in {name}: {_rows(exact)}"
        left = [i for i, text in enumerate(asked) if text not in there]
        near = near_pairs([asked[i] for i in left], texts)
        if near:
            yield f"{_counted(len(near), 'input')} nearly the same in {name}: {_rows([left[i] + 1 for i, _ in near])}"


def _scale(task: Mapping[str, Any], roles: Roles, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields what guessing scores and what a difference this many rows can show."""
    n = len(rows)
    parts = []
    if task["kind"] == "choice":
        fixed = task["choices"] if isinstance(task["choices"], list) else None
        sizes = [len(fixed or _offered(row, roles.choices) or "?") for row in rows]
        if fixed:
            (name, most), *_ = Counter(as_text(row.get(roles.answer)).strip() for row in rows).most_common(1)
            parts.append(f"always '{_short(name, 30)}' scores {100 * most / n:.1f} %")
        parts.append(f"guessing {100 * sum(1 / size for size in sizes) / n:.1f} %")
    gap = 100 * detectable_gap(n)
    parts.append(f"{n:,} rows show a difference between two models of about {gap:.2g} points")
    yield "; ".join(parts)


def _described(column: Column) -> str:
    if column.kind == "empty":
        return "empty"
    if column.unique and column.kind in ("text", "number") and column.longest <= 40 and column.words <= 1:
        kind = "number, unique" if column.kind == "number" else "text, unique"
        return kind
    if _is_label(column) and column.counts:
        common = Counter(column.counts).most_common(2)
        shown = ", ".join(f"{_short(name, 16)} {100 * count / column.filled:.0f} %" for name, count in common)
        return f"{column.distinct} values ({shown}{', ...' if column.distinct > 2 else ''})"
    if column.kind in ("text", "mixed"):
        longest = f"{column.longest:,} characters"
        return f"{column.kind}, median {_counted(column.words, 'word')}, longest {longest}"
    return column.kind


def _rows(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")
    return f"row{'s' if len(numbers) > 1 else ''} {shown}"


def _groups(groups: Sequence[Sequence[int]]) -> str:
    shown = ", ".join("/".join(map(str, group[:4])) for group in groups[:4])
    return f"rows {shown}" + (", ..." if len(groups) > 4 else "")


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _short(text: str, width: int) -> str:
    plain = " ".join(re.sub(r"[^\w\s\x20-\x7e]", "?", text).split()) or "?"
    return plain if len(plain) <= width else plain[: width - 1] + "…"


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the task file, and the copy of the data where it did not lie in the task's folder."""

    task: Path
    data: Path | None


def write(found: Found, out: Path | None = None) -> Written:
    """Writes the task file and returns where; default: beside the data. A file that is there is never replaced.

    A task reads only what lies in its own folder, so for another folder the data are copied there. The file is loaded
    and its scorer tested before this returns; a task that fails that is not left behind.
    """
    source = found.table.path
    out = out or source.with_name(stem_of(source) + ".yaml")
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"'{out.name}' is no name for a task file", where=str(out), fix="end it in .yaml")
    if out.exists():
        raise ConfigError("the task file is there already", where=str(out), fix="name another: --out FILE.yaml")
    file, copy = _place(source, out)
    text = _file_text(found, out, file)
    parse_yaml(text, out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if copy is not None:
            shutil.copyfile(source, copy)
        with out.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except OSError as error:
        what = f"the task file cannot be written: {error.strerror}"
        raise ConfigError(what, where=str(out), fix="name a place that can be written: --out FILE.yaml") from None
    try:
        task = load_task(TaskUse(task=str(out)))
        check_columns(task.config, [sample.row for sample in task.samples], task.where)
    except HarnessError:
        out.unlink()
        if copy is not None:
            copy.unlink()
        raise
    return Written(out, copy)


def _place(source: Path, out: Path) -> tuple[str, Path | None]:
    """Returns how the task file names the data, and where they have to be copied to for that (None: nowhere)."""
    folder = out.parent.resolve()
    if source.resolve().is_relative_to(folder):
        return str(source.resolve().relative_to(folder)), None
    copy = out.parent / source.name
    if copy.exists() and copy.read_bytes() != source.read_bytes():
        what = f"another file named {source.name} is in the task's folder"
        raise ConfigError(what, where=str(copy), fix="name another folder: --out FOLDER/FILE.yaml")
    return source.name, None if copy.exists() else copy


def _file_text(found: Found, out: Path, file: str) -> str:
    """Returns the task file as text, commented."""
    table, roles, task = found.table, found.roles, dict(found.task)
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", out.stem).strip("-._+")[:100] or "task"
    data: dict[str, Any] = {"file": file, "sha256": table.digest}
    data |= {"split": roles.split} if roles.split else {}
    data |= {"id": roles.id} if roles.id else {}
    for key in ("sheet", "delimiter", "encoding", "header"):
        if value := getattr(table.source, key):
            data[key] = list(value) if isinstance(value, tuple) else value
    sensitivity = task.pop("sensitivity")
    remarks = {"data": "sha256: the score is of these very rows; take it out to let the file change"} | dict(
        found.remarks
    )
    head = {
        "task": name,
        "version": 1,
        "asks": f"{_words(roles.answer)}, given {' and '.join(map(_words, roles.inputs))}"[:200],
        "source": table.path.name,
        "licence": "not stated",
        "sensitivity": sensitivity,
        "data": data,
    }
    lines = [f"# harness run --task {_plain(str(out))} --model PATH", f"# {_comment(found)}"]
    for key, value in (head | task).items():
        lines.append(_line(key, value, remarks.get(key, "")))
    if roles.cluster:
        lines.append(_line("cluster", roles.cluster, "rows that share it are not independent: intervals allow for it"))
    splits = list(dict.fromkeys(str(row.get("split")) for row in table.rows)) if roles.split else []
    train = next((one for one in splits if one != roles.split), None)
    if train is not None:
        lines.append(f"# shots: {{n: 5, from: {_scalar(train)}}}    # show solved examples first")
    unused = [c.name for c in found.columns if not found._role(c.name) and c.kind != "empty" and c.name != "split"]
    if unused:
        lines.append(f"# columns not used: {', '.join(_plain(_short(one, 40)) for one in unused[:20])}")
    return "\n".join(lines) + "\n"


def _comment(found: Found) -> str:
    return f"written from {_plain(found.table.path.name)} ({len(found.table.rows):,} rows): read it, mend what is wrong"


def _line(key: str, value: Any, remark: str) -> str:
    end = f"    # {remark}" if remark else ""
    if isinstance(value, str) and "\n" in value and all(map(_printable, value.split("\n"))) and value == value.strip():
        return "\n".join([f"{key}: |-{end}", *(f"  {line}" for line in value.split("\n"))])
    if isinstance(value, list) and len(value) > 8:
        return "\n".join([f"{key}:{end}", *(f"  - {_value(item)}" for item in value)])
    return f"{key}: {_value(value)}{end}"


def _printable(line: str) -> bool:
    return line.isprintable() and line == line.strip()


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(str(key))}: {_value(held)}" for key, held in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """Returns a value as YAML reads it back: a plain word where that is safe, else in double quotes."""
    if not isinstance(value, str):
        return "true" if value is True else "false" if value is False else str(value)
    plain = re.fullmatch(r"[A-Za-z_](?:[\w./-]| (?=\w))*", value) and value.isascii()
    if plain and value.lower() not in {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable() and character != "\ufeff":
        return character
    code = ord(character)
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def questions(found: Found) -> tuple[tuple[str, str, str], ...]:
    """Returns what to ask a person: (keyword of `look`, question, what is guessed)."""
    roles = found.roles
    return (
        ("input", "Which column is shown to the model?", roles.inputs[-1]),
        ("answer", "Which column holds the right answer?", roles.answer),
        ("id", "Which column names the rows? (empty: none)", roles.id or ""),
        ("cluster", "Rows that belong together share which column? (empty: none)", roles.cluster or ""),
    )
