"""What texts cost a model, as numbers that do not depend on its tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from harness.scoring.scorers import BYTES, NATS, WORDS
from harness.stats import bootstrap_sums
from harness.stats.arrays import Floats
from harness.values import Estimate, Record

Table = Floats  # of sums: (resamples, 2), nats and what they are spread over


def _bits(sums: Table) -> Floats:
    return np.divide(sums[:, 0], sums[:, 1]) / math.log(2)


def _perplexity(sums: Table) -> Floats:
    return np.exp(sums[:, 0] / sums[:, 1])


# name: the metric of a record that nats are spread over, and what the mean becomes
SPREAD: dict[str, tuple[str, Callable[[Table], Floats]]] = {
    "bits_per_byte": (BYTES, _bits),
    "word_perplexity": (WORDS, _perplexity),
}


def perplexities(records: Sequence[Record], clusters: Sequence[Hashable] | None) -> dict[str, Estimate]:
    """Returns what the records' texts cost: nothing for records that tell no `nats`.

    Whole texts: `bits_per_byte` and `word_perplexity`, over all texts together as lm-evaluation-harness 0.4.13 does it
    (`weighted_perplexity`). Answers after a prompt: `perplexity` of an answer, exp of the mean nats. The interval is a
    bootstrap over texts (or clusters): one text has none.
    """
    told = [record.metrics for record in records if NATS in record.metrics]
    if not told or len(told) < len(records):
        return {}
    named = SPREAD if BYTES in told[0] else {"perplexity": ("", _perplexity)}
    return {
        name: bootstrap_sums(np.array([[one[NATS], one.get(over, 1.0)] for one in told]), function, clusters)
        for name, (over, function) in named.items()
    }
