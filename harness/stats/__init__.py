"""Statistics as pure functions: arrays in, `Estimate` out, the seed an argument.

Empty input raises ValueError, since it is a bug of the caller. What is undefined is None with a reason, never 0.
Every function has a known-answer test and a test against a second method.

A new statistic: a pure function here, and both tests. `analysis.statistics` puts it into rows.
"""

from harness.stats.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from harness.stats.bootstrap import bootstrap_sums, ratio_of_sums
from harness.stats.bounded import Ends
from harness.stats.classification import Classification, LabelScore, multi_label, single_label
from harness.stats.judge import ppi_mean, rogan_gladen
from harness.stats.mean import accuracy, bounded_mean, clopper_pearson, wilson
from harness.stats.multiplicity import benjamini_hochberg, holm
from harness.stats.paired import Comparison, NonInferiority, noninferiority, paired_difference
from harness.stats.passk import maj_at_k, pass_at_k, pass_hat_k
from harness.stats.power import detectable_difference, detectable_gap, needed_n, noninferiority_n

__all__ = [
    "Classification",
    "Comparison",
    "Ends",
    "LabelScore",
    "NonInferiority",
    "accuracy",
    "benjamini_hochberg",
    "bootstrap_sums",
    "bounded_mean",
    "clopper_pearson",
    "cohen_kappa",
    "detectable_difference",
    "detectable_gap",
    "fleiss_kappa",
    "holm",
    "krippendorff_alpha",
    "maj_at_k",
    "multi_label",
    "needed_n",
    "noninferiority",
    "noninferiority_n",
    "paired_difference",
    "pass_at_k",
    "pass_hat_k",
    "ppi_mean",
    "ratio_of_sums",
    "rogan_gladen",
    "single_label",
    "wilson",
]
