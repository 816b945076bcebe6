"""What a person should know about the data before believing a score: each a line of the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import numpy as np

from harness.errors import HarnessError
from harness.scoring.cells import Row
from harness.scoring.plain_text import fold
from harness.scoring.value_text import text_of as as_text
from harness.stats import detectable_gap
from harness.tasks.authoring.roles import LONGEST_LABEL, MOST_LABELS, Roles, almost_id, asked_of, offered
from harness.tasks.authoring.words import counted, group_list, row_list, short
from harness.tasks.data.columns import PART, Column, Table, read_table
from harness.tasks.data.lazy import Picked, in_parts, made
from harness.tasks.data.near_duplicates import near_pairs
from harness.tasks.data.people import PEOPLE_NEED, people_finder
from harness.tasks.data.personal_data import personal_data
from harness.tasks.data.read import sibling_split
from harness.tasks.samples import alike

NAMED_ROWS = 1_000  # in which names of people are looked for: a model reads each of them
LONGEST_CELL = 400_000  # characters: about 100,000 tokens, more than most models read


def doubts(columns: Sequence[Column], roles: Roles, others: Sequence[str], task: Mapping[str, object]) -> Iterator[str]:
    """Yields what could be meant otherwise, and what of the used columns is empty, mixed, nested or too long."""
    by_name = {column.name: column for column in columns}
    if others:
        named = ", ".join(f"'{name}'" for name in others[:4])
        yield f"also could be the answer: {named}; '{roles.answer}' is taken. Otherwise: --answer COLUMN"
    if roles.id is None:
        for column in filter(almost_id, columns):
            again, empty = column.filled - (column.distinct or 0), len(column.empty)
            why = [f"{n} {text}" for n, text in ((again, "stand twice"), (empty, "empty")) if n]
            yield f"'{column.name}' is not taken as id ({', '.join(why)}): samples are named by their place, from 0"
    answer = by_name[roles.answer]
    if answer.kind == "mixed":
        kinds = ", ".join(f"{count} {kind}" for kind, count in answer.kinds.items())
        yield f"the answers in '{answer.name}' are of mixed types ({kinds}): compared as text"
    if "choices" not in task and answer.distinct is not None and answer.longest <= LONGEST_LABEL:
        few = answer.distinct > MOST_LABELS and answer.distinct < answer.filled and answer.kind == "text"
        if few:
            yield (
                f"{answer.distinct:,} distinct answers in '{answer.name}': too many for a list of choices; "
                "they are generated and compared as text"
            )
    if task.get("score") == "multi_label":
        yield (
            f"the answers in '{answer.name}' are lists: right is all that they hold. If any one of it is right, write "
            'extract: text, score: text and target: "{a column with one of them}"'
        )
    for name in roles.inputs:
        column = by_name[name]
        if column.empty:
            yield f"'{name}' is empty in {counted(len(column.empty), 'row')}: {row_list(column.empty)}"
        if column.kind in ("list", "object") and task.get("prepare") != "passages":
            yield f"'{name}' holds nested JSON ({column.kind}s): the prompt shows it as JSON"
        if column.kind == "mixed":
            yield f"'{name}' is of mixed types: {', '.join(f'{n} {kind}' for kind, n in column.kinds.items())}"
    for column in columns:
        if column.longest > LONGEST_CELL and column.name in {*roles.inputs, roles.answer, *roles.choices}:
            size = f"{column.longest / 1e6:.1f} million characters"
            yield f"row {column.longest_row} of '{column.name}' has {size}: more than models read, it would be cut"


def duplicates(roles: Roles, rows: Sequence[Row]) -> Iterator[str]:
    """Yields inputs that stand twice (case, punctuation and spacing aside), and those with different answers."""
    texts = made(rows, lambda _, row: folded_input(row, (*roles.inputs, *roles.choices)))
    groups = _alike(texts)
    if not groups:
        return
    again = sum(len(numbers) - 1 for numbers in groups)
    answers = [{alike(as_text(rows[number - 1].get(roles.answer))) for number in numbers} for numbers in groups]
    differing = [numbers for numbers, found in zip(groups, answers) if len(found) > 1]
    plural = "s" if again > 1 else ""
    line = f"{again} duplicate input{plural} ({group_list(groups)})"
    yield line + (f"; {len(differing)} with conflicting answers ({group_list(differing)})" if differing else "")


def _alike(texts: Sequence[str]) -> list[list[int]]:
    """Returns the rows of each text that stands twice or more, in the order of their first."""
    order = np.argsort(keys := _keys(texts), kind="stable")
    again = keys[order[1:]] == keys[order[:-1]]
    groups: dict[str, list[int]] = defaultdict(list)
    for place in sorted({*order[1:][again].tolist(), *order[:-1][again].tolist()}):
        groups[texts[place]].append(place + 1)  # the text itself decides, not its hash
    return [numbers for numbers in groups.values() if len(numbers) > 1]


def _keys(texts: Sequence[str]) -> np.ndarray:
    """Returns a number for each text, the same for the same text in this process, (n,) int64."""
    return np.fromiter(map(hash, texts), np.int64, len(texts))


def folded_input(row: Row, names: Iterable[str]) -> str:
    """Returns what the model is shown of a row, without case, punctuation and spacing."""
    return fold("\n".join(as_text(row.get(name))[:20_000] for name in names))


def odd_labels(spellings: Mapping[str, str], columns: Sequence[Column], roles: Roles) -> Iterator[str]:
    """Yields labels that look like mistakes: of one row only, or like another but for case, blanks or punctuation."""
    counts: Counter[str] = Counter()
    same: dict[str, set[str]] = defaultdict(set)
    others: dict[str, Counter[str]] = defaultdict(Counter)  # label -> its other spellings
    for text, count in next(c.counts for c in columns if c.name == roles.answer).items():
        label = spellings[text.strip()]
        counts[label] += count
        same[fold(label) or label].add(label)
        if text.strip() != label:
            others[label][text.strip()] += count
    once = [name for name, count in counts.items() if count == 1]
    if once:
        named = ", ".join(f"'{short(name, 30)}'" for name in once[:5])
        yield f"{counted(len(once), 'label')} with one row only: {named}; a misspelling?"
    for names in same.values():
        if len(names) > 1:
            yield f"labels that differ in case or punctuation only: {', '.join(sorted(names))}"
    if others:
        named = "; ".join(
            ", ".join(f"'{short(text, 30)}'" for text in list(texts)[:3]) + f" as '{short(label, 30)}'"
            for label, texts in list(others.items())[:5]
        )
        n = sum(sum(texts.values()) for texts in others.values())
        yield f"{counted(n, 'answer')} in another case or with other blanks: {named}. Otherwise: --keep-spellings"


@dataclass(frozen=True, slots=True)
class Personal:
    """What of a file seems to be personal data, a line each; and what was not looked for."""

    lines: tuple[str, ...]
    notes: tuple[str, ...]


def personal(columns: Sequence[Column], rows: Sequence[Row]) -> Personal:
    """Returns a line for each kind of personal data that seems to be in the columns."""
    looked_at = []
    for column in columns:
        if column.kind in ("number", "yes/no", "empty") and column.longest < 12:
            continue
        if column.counts and column.longest < 10 and (column.distinct or 0) < column.filled / 2:
            continue
        looked_at.append(column.name)
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    before = 0
    for part in in_parts(rows, PART):
        for name in looked_at:
            for kind, places in personal_data(as_text(row.get(name)) for row in part).items():
                found[kind][name] += [before + place for place in places]
        before += len(part)
    people = people_finder()
    if people is not None:
        for name in looked_at:
            texts = [as_text(row.get(name)) for row in islice(rows, NAMED_ROWS)]
            if places := [i for i, text in enumerate(texts) if people(text)]:
                found["name of a person"][name] = places
    return Personal(tuple(_personal_lines(found)), tuple(_unlooked(people is not None, len(rows))))


def _personal_lines(found: Mapping[str, Mapping[str, Sequence[int]]]) -> Iterator[str]:
    for kind, by_column in found.items():
        places = sorted({place + 1 for held in by_column.values() for place in held})
        where = ", ".join(f"'{name}'" for name in list(by_column)[:3])
        several = kind.replace("name of a person", "names of people")
        several += "" if several != kind else "es" if kind.endswith("s") else "s"
        line = f"looks like {several}: {counted(len(places), 'row')} ({row_list(places)}) in {where}"
        yield line + " -> sensitivity: restricted"


def _unlooked(looked: bool, n: int) -> Iterator[str]:
    if not looked:
        yield f"names of people were not looked for: {PEOPLE_NEED}"
    elif n > NAMED_ROWS:
        yield f"names of people were looked for in the first {NAMED_ROWS:,} rows"


def leaks(table: Table, asked: Sequence[Row], roles: Roles, split: str | None, splits: Sequence[str]) -> Iterator[str]:
    """Yields how many inputs also stand in another split: of the same file, or of the file beside it."""
    others: list[tuple[str, Sequence[Row]]] = []
    if split is not None:
        others = [(f"split '{name}'", asked_of(table.rows, name)) for name in splits if name != split]
    else:
        for name in ("train", "training", "dev", "validation", "test"):
            beside = sibling_split(table.path, name)
            if beside is not None:
                with suppress(HarnessError):
                    others.append((beside.name, read_table(beside).rows))
    for name, rows in others:
        yield from _leak(name, *(made(some, lambda _, row: folded_input(row, roles.inputs)) for some in (asked, rows)))


def _leak(name: str, asked: Sequence[str], there: Sequence[str]) -> Iterator[str]:
    """Yields how many of the texts asked also stand among others; the same by their hash, of 64 bits."""
    keys = _keys(asked)
    known = np.isin(keys, _keys(there)) & (keys != hash(""))
    exact = (np.flatnonzero(known) + 1).tolist()
    if exact:
        yield f"{counted(len(exact), 'input')} also in {name}: {row_list(exact)}"
    left = np.flatnonzero(~known).tolist()
    near = near_pairs(Picked(asked, left), there)
    if near:
        yield f"{counted(len(near), 'input')} nearly the same in {name}: {row_list([left[i] + 1 for i, _ in near])}"


def scale(
    task: Mapping[str, object],
    columns: Sequence[Column],
    roles: Roles,
    rows: Sequence[Row],
    spellings: Mapping[str, str],
) -> Iterator[str]:
    """Yields what guessing scores and what a difference this many rows can show."""
    n = len(rows)
    parts = []
    if "choices" in task:
        fixed = task["choices"] if isinstance(task["choices"], list) else None
        sizes = [len(fixed)] * n if fixed else [len(offered(row, roles.choices) or "?") for row in rows]
        if fixed:
            counts: Counter[str] = Counter()
            for name, count in next(c.counts for c in columns if c.name == roles.answer).items():
                counts[spellings[name.strip()]] += count
            (name, most), *_ = counts.most_common(1)
            parts.append(f"always '{short(name, 30)}' scores {100 * most / n:.1f} %")
        parts.append(f"guessing {100 * sum(1 / size for size in sizes) / n:.1f} %")
    gap = 100 * detectable_gap(n)
    parts.append(f"{n:,} rows show a difference between two models of about {gap:.{0 if gap >= 10 else 1}f} points")
    yield "; ".join(parts)
