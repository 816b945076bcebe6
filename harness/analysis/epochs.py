"""Several answers to one sample become one: by vote, by any or all being right, or by a further score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from harness.stats import maj_at_k, over_problems, pass_at_k, pass_hat_k
from harness.values import Record

Rule = str | Mapping[str, str]


def reduce_epochs(records: Sequence[Record], rule: Rule) -> list[Record]:
    """Returns one record a sample, its value what the rule makes of its answers; `mean` leaves them all as they are.

    majority: the expected value of the most frequent answer, ties split. any, all: the highest, the lowest value.
    {best_by: name}: the value of the answer whose further metric is highest, the first of equals. Answers without a
    value (left out of the mean) do not take part; a sample with none keeps none.
    """
    if rule == "mean":
        return list(records)
    reduced = []
    for group in _by_sample(records).values():
        counted = [record for record in group if record.value is not None]
        value = _RULES[_name(rule)](counted, rule) if counted else None
        reduced.append(replace(group[0], value=value))
    return reduced


def repeated(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Returns pass@k, pass^k and maj@k with intervals where every sample has the same k > 1 right-or-wrong answers.

    Chen et al. 2021 (unbiased pass@k), Yao et al. 2024 (pass^k); by bootstrap over samples.
    """
    groups = [[r for r in group if r.value is not None] for group in _by_sample(records).values()]
    sizes = {len(group) for group in groups}
    k = sizes.pop() if len(sizes) == 1 else 0
    if k < 2 or any(record.value not in (0.0, 1.0) for group in groups for record in group):
        return {}
    right = [int(sum(record.value for record in group)) for group in groups]
    clusters = [group[0].cluster for group in groups]
    known = clusters if all(cluster is not None for cluster in clusters) else None
    found = {
        "pass@1": [pass_at_k(k, c, 1) for c in right],
        f"pass@{k}": [pass_at_k(k, c, k) for c in right],
        f"pass^{k}": [pass_hat_k(k, c, k) for c in right],
        f"maj@{k}": [_vote(group, "majority") for group in groups],
    }
    return {name: _shown(over_problems(values, known)) for name, values in found.items()}


def _by_sample(records: Sequence[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.epoch):
        groups.setdefault(record.sample_id, []).append(record)
    return groups


def _vote(group: Sequence[Record], rule: Rule) -> float:
    return maj_at_k([record.answer for record in group], [record.value for record in group], len(group))


def _best(group: Sequence[Record], rule: Rule) -> float:
    name = rule["best_by"]
    return max(group, key=lambda record: record.metrics.get(name, float("-inf"))).value


_RULES: Mapping[str, Callable[[Sequence[Record], Any], float]] = {
    "majority": _vote,
    "any": lambda group, rule: max(record.value for record in group),
    "all": lambda group, rule: min(record.value for record in group),
    "best_by": _best,
}


def _name(rule: Rule) -> str:
    return rule if isinstance(rule, str) else "best_by"


def _shown(estimate: Any) -> dict[str, Any]:
    return {key: asdict(estimate)[key] for key in ("value", "low", "high", "stderr", "method", "reason")}
