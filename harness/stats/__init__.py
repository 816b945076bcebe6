"""Statistics as pure functions: arrays in, `Estimate` out, the seed an argument.

Empty input raises ValueError, since it is a bug of the caller. What is undefined is None with a reason, never 0.
Every function has a known-answer test and a test against a second method.
"""

from harness.stats.mean import accuracy, clopper_pearson, clustered_mean, t_mean, wilson
from harness.stats.paired import Comparison, NonInferiority, noninferiority, paired_difference

__all__ = [
    "Comparison",
    "NonInferiority",
    "accuracy",
    "clopper_pearson",
    "clustered_mean",
    "noninferiority",
    "paired_difference",
    "t_mean",
    "wilson",
]
