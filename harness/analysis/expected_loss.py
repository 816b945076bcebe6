"""What answers cost where some mistakes are worse than others: the task's `costs`, and the mean over its samples.

costs: {refund: {greeting: 10, no_answer: 2}}      right label -> answer -> cost; right ones cost 0, others 1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.stats import Ends, bounded_mean
from harness.tasks.samples import NO_ANSWER
from harness.values import Estimate, Record

Costs = Mapping[str, Mapping[str, float]]


def cost_of(costs: Costs, right: str, answer: str | None) -> float:
    """Returns what an answer costs (None: there is none) in the unit of the table; an unnamed mistake costs 1."""
    if answer == right:
        return 0.0
    return float(costs.get(right, {}).get(NO_ANSWER if answer is None else answer, 1.0))


def expected_loss(costs: Costs, records: Sequence[Record]) -> Estimate:
    """Returns the mean cost of the answers that count, with Gaffke's interval between 0 and the dearest mistake.

    What scores 1 costs nothing. Raises ValueError without a record that counts.
    """
    counted = [record for record in records if record.value is not None]
    losses = [0.0 if r.value == 1.0 else cost_of(costs, str(r.expected), r.answer) for r in counted]
    named = any(record.cluster is not None for record in counted)
    clusters = [str(record.cluster) for record in counted] if named else None
    dearest = max([1.0, *(float(cost) for row in costs.values() for cost in row.values())])
    return bounded_mean(losses, clusters, Ends(0.0, dearest))


def best_constant(costs: Costs, expected: Sequence[str], labels: Iterable[str]) -> tuple[str, float]:
    """Returns the one answer that costs least if given to every sample, and its mean cost; of equals the first."""
    mean = {label: sum(cost_of(costs, right, label) for right in expected) / len(expected) for label in labels}
    best = min(mean, key=mean.__getitem__)
    return best, mean[best]
