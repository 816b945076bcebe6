"""What a row tells beside its accuracy: further statistics of one model's answers to one task.

To add one: write the function, and name it in `STATISTICS`. Its numbers then stand in `Row.metrics`, in the table and
in every format that a table is written in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.analysis.bbq_bias import bias_scores
from harness.analysis.epochs import clusters_of
from harness.analysis.perplexity import perplexities
from harness.scoring.scorers import COUNTS, FOLLOWED, PARTS
from harness.stats import accuracy
from harness.tasks.rubric import ORDERS
from harness.values import Estimate, Record

# The records that have a value, and the cluster of each or None; by name. Nothing where it means nothing.
Statistic = Callable[[Sequence[Record], Sequence[str] | None], Mapping[str, Estimate]]


def further_of(records: Sequence[Record]) -> dict[str, Estimate]:
    """Returns the further statistics of the records of one model on one task, in the order of `STATISTICS`."""
    counted = [record for record in records if record.value is not None]
    clusters = clusters_of(counted)
    return {name: value for one in STATISTICS for name, value in one(counted, clusters).items()}


def means(records: Sequence[Record], _: Sequence[str] | None) -> dict[str, Estimate]:
    """Returns the mean of each metric that records name; one that a failed answer lacks is 0 there.

    Confidence is of the answers that have one: where nothing was answered there is none, and not 0. A turn is of the
    conversations in which it is scored.
    """
    apart = {*COUNTS, *FOLLOWED, *ORDERS}
    names = dict.fromkeys(name for record in records for name in record.metrics if name not in apart)
    found = {}
    for name in names:
        told = [r for r in records if name in r.metrics or not name.startswith(("confidence", "turn_"))]
        found[name] = accuracy([record.metrics.get(name, 0.0) for record in told], clusters_of(told))
    return found


def micro_f1(records: Sequence[Record], _: Sequence[str] | None) -> dict[str, Estimate]:
    """Returns 2 · shared / (found + expected) over all answers, where the scorer counts parts of an answer."""
    shared, found, expected = (sum(record.metrics.get(name, 0.0) for record in records) for name in PARTS)
    if not any("expected" in record.metrics for record in records):
        return {}
    below, n = found + expected, len(records)
    if not below:
        return {"micro_f1": Estimate(None, n=n, reason="no answer has a part, and none is expected")}
    return {"micro_f1": Estimate(2 * shared / below, n=n, method="micro-averaged F1")}


def instructions(records: Sequence[Record], _: Sequence[str] | None) -> dict[str, Estimate]:
    """Returns the share of all instructions that were followed; those of one sample are not independent."""
    found = {}
    for count, name in FOLLOWED.items():
        if any(count in record.metrics for record in records):
            parts = [(r, i < r.metrics.get(count, 0)) for r in records for i in range(len(r.expected))]
            clusters = [record.cluster or record.sample_id for record, _ in parts]
            values = [float(followed) for _, followed in parts]
            found[name] = accuracy(values, clusters) if values else Estimate(None, reason="no instruction was given")
    return found


STATISTICS: tuple[Statistic, ...] = (means, micro_f1, instructions, perplexities, bias_scores)
