"""Statistics of comparisons: estimates with intervals, tests, plans. Each is checked by simulation."""

from llmops_jupyter.evaluation.statistics.agreement import cohens_kappa, krippendorffs_alpha
from llmops_jupyter.evaluation.statistics.allocation import Allocation, sample_ratio
from llmops_jupyter.evaluation.statistics.anytime import (
    always_valid,
    always_valid_difference,
    always_valid_mean,
    always_valid_p,
)
from llmops_jupyter.evaluation.statistics.clusters import (
    clustered_difference,
    clustered_mean,
    design_effect,
)
from llmops_jupyter.evaluation.statistics.corrected import Corrected, corrected_mean
from llmops_jupyter.evaluation.statistics.estimate import Estimate, Interval
from llmops_jupyter.evaluation.statistics.means import mean, paired_means, separate_means
from llmops_jupyter.evaluation.statistics.planning import (
    Plan,
    binary_spread,
    detectable,
    rows_needed,
)
from llmops_jupyter.evaluation.statistics.proportions import (
    mcnemar_mid_p,
    paired_rates,
    separate_rates,
)
from llmops_jupyter.evaluation.statistics.rates import rate
from llmops_jupyter.evaluation.statistics.several import adjusted

__all__ = [
    "Allocation",
    "Corrected",
    "Estimate",
    "Interval",
    "Plan",
    "adjusted",
    "always_valid",
    "always_valid_difference",
    "always_valid_mean",
    "always_valid_p",
    "binary_spread",
    "clustered_difference",
    "clustered_mean",
    "cohens_kappa",
    "corrected_mean",
    "design_effect",
    "detectable",
    "krippendorffs_alpha",
    "mcnemar_mid_p",
    "mean",
    "paired_means",
    "paired_rates",
    "rate",
    "rows_needed",
    "sample_ratio",
    "separate_means",
    "separate_rates",
]
