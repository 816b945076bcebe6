"""Several answers to one sample become one: by vote, by any or all being right, or by a further score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.config.task import BestBy
from harness.stats import accuracy, maj_at_k, pass_at_k, pass_hat_k
from harness.values import Estimate, Record

Rule = str | BestBy


def clusters_of(records: Sequence[Record]) -> list[str] | None:
    """Returns what samples that are not independent share: the task's cluster, or the sample of several epochs."""
    if any(record.cluster is not None for record in records):
        return [str(record.cluster) for record in records]
    if any(record.epoch > 0 for record in records):
        return [record.sample_id for record in records]
    return None


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
        value = _reduced(counted, rule) if counted else None
        reduced.append(replace(group[0], value=value))
    return reduced


def repeated(records: Sequence[Record]) -> dict[str, Estimate]:
    """Returns pass@k, pass^k and maj@k with intervals where every sample has the same k > 1 right-or-wrong answers.

    Chen et al. 2021 (unbiased pass@k), Yao et al. 2024 (pass^k); samples are what varies.
    """
    groups = [[r for r in group if r.value is not None] for group in _by_sample(records).values()]
    sizes = {len(group) for group in groups}
    k = sizes.pop() if len(sizes) == 1 else 0
    if k < 2 or any(record.value not in (0.0, 1.0) for group in groups for record in group):
        return {}
    right = [int(sum(_values(group))) for group in groups]
    clusters = [group[0].cluster for group in groups]
    known = clusters if all(cluster is not None for cluster in clusters) else None
    found = {
        "pass@1": [pass_at_k(k, c, 1) for c in right],
        f"pass@{k}": [pass_at_k(k, c, k) for c in right],
        f"pass^{k}": [pass_hat_k(k, c, k) for c in right],
        f"maj@{k}": [_vote(group) for group in groups],
    }
    return {name: accuracy(values, known) for name, values in found.items()}


def _by_sample(records: Sequence[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.epoch):
        groups.setdefault(record.sample_id, []).append(record)
    return groups


def _reduced(counted: Sequence[Record], rule: Rule) -> float | None:
    """Returns the value of one sample's answers, which all have one."""
    if isinstance(rule, BestBy):
        name = rule.best_by
        return max(counted, key=lambda record: record.metrics.get(name, float("-inf"))).value
    return _RULES[rule](counted)


def _vote(group: Sequence[Record]) -> float:
    return maj_at_k([record.answer for record in group], _values(group), len(group))


def _values(group: Sequence[Record]) -> list[float]:
    return [record.value for record in group if record.value is not None]


_RULES: Mapping[str, Callable[[Sequence[Record]], float]] = {
    "majority": _vote,
    "any": lambda group: max(_values(group)),
    "all": lambda group: min(_values(group)),
}
