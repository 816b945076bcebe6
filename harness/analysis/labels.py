"""How well each label of a classification is told, which is taken for which, and how often none was given.

For tasks whose answers are labels: one out of a fixed list of choices, or a set of labels (`score: multi_label`), or
one that a text states (`score: label`). An answer that is none of the labels claims none.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from harness.config import named_functions
from harness.config.task import Judging, OneAnswer, TaskConfig
from harness.scoring.scorers.choice import labels_in, plain
from harness.stats import Classification, multi_label, single_label
from harness.values import Record, Sample

MOST = 500  # labels; answers of more kinds than this are no labels
OTHER = "(other)"  # a label of a set that no sample expects


def by_label(
    task: TaskConfig,
    records: Sequence[Record],
    samples: Mapping[tuple[str, str], Sample],
    clusters: Sequence[Hashable] | None,
) -> Classification | None:
    """Returns how the records of one model on one task do on its labels; None for a task without labels.

    `records` all have a value, and `clusters` one entry for each or is None.
    """
    score: Any = task.score if isinstance(task, OneAnswer | Judging) else None
    first: Any = score[0] if isinstance(score, list | tuple) and score else score
    name = None if first is None else named_functions.name_of(first)
    if not records:
        return None
    asked = [sample for (named, _), sample in samples.items() if named == records[0].task]
    if name == "multi_label":
        options = first[name] if isinstance(first, Mapping) and isinstance(first[name], Mapping) else {}
        return _sets(records, asked, clusters, options.get("separator", ","))
    lists = {sample.choices for sample in asked}
    if lists == {()} and name in {"label", "choice"}:
        return _texts(records, asked, clusters)
    if len(lists) != 1 or lists == {()} or any(sample.right for sample in asked):
        return None
    named = dict(zip(asked[0].labels, asked[0].choices))
    answers = [None if record.answer is None else named.get(record.answer) for record in records]
    return single_label([named[record.expected] for record in records], answers, asked[0].choices, clusters)


def _texts(
    records: Sequence[Record], asked: Sequence[Sample], clusters: Sequence[Hashable] | None
) -> Classification | None:
    named = {plain(str(sample.expected)): str(sample.expected) for sample in asked}
    if len(named) > MOST:
        return None
    expected = [named[plain(str(record.expected))] for record in records]
    answers = [None if record.answer is None else named.get(plain(record.answer)) for record in records]
    return single_label(expected, answers, sorted(named.values()), clusters)


def _sets(
    records: Sequence[Record], asked: Sequence[Sample], clusters: Sequence[Hashable] | None, separator: str
) -> Classification | None:
    known = set().union(*(labels_in(sample.expected, separator) for sample in asked))
    expected = [labels_in(record.expected, separator) for record in records]
    given = [None if record.answer is None else labels_in(_read(record.answer), separator) for record in records]
    answers = [None if one is None else {label if label in known else OTHER for label in one} for one in given]
    return multi_label(expected, answers, [*sorted(known), OTHER], clusters) if 0 < len(known) <= MOST else None


def _read(answer: str) -> Any:
    """Returns an answer as it was judged: a record holds a list as JSON."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    return found if isinstance(found, list) else answer
