"""Rank losses by the results of several seeds."""
from __future__ import annotations
import math
import statistics
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

from scipy.stats import t as student
from scipy.stats import ttest_1samp

#: An interval holds the mean in 95 of 100 studies.
CONFIDENCE = 0.95

#: A difference is told from noise in 80 of 100 studies of so many seeds.
POWER = 0.8

#: More seeds than this are not worth counting.
MAX_SEEDS = 10_000


class Interval(NamedTuple):
    """A mean with the half-width of its confidence interval."""
    mean: float
    half: float  # infinite for a single number


class Rank(NamedTuple):
    """A row of the leaderboard."""
    name: str
    values: Dict[int, float]  # by seed
    metric: Interval | None  # None: no training ended well
    difference: Interval | None  # to the reference, of the same seeds
    p: float | None  # of no difference, corrected for the number of losses
    verdict: str


def interval(values: Sequence[float]) -> Interval:
    """Student's confidence interval of a mean."""
    mean = statistics.fmean(values)
    number = len(values)
    if number < 2:
        return Interval(mean, math.inf)
    quantile = student.ppf((1 + CONFIDENCE) / 2, number - 1)
    return Interval(mean,
                    quantile * statistics.stdev(values) / math.sqrt(number))


def paired_p(differences: Sequence[float]) -> float:
    """The two-sided p of a paired t test that there is no difference."""
    if len(set(differences)) == 1:  # its deviation is 0
        return 1.0 if len(differences) < 2 or not differences[0] else 0.0
    return float(ttest_1samp(differences, 0).pvalue)


def seeds_to_tell(differences: Sequence[float]) -> int | None:
    """How many seeds would tell a difference of this size from noise.

    None if there is no difference, or it would take too many.
    """
    mean = abs(statistics.fmean(differences))
    deviation = statistics.stdev(differences)
    for number in range(2, MAX_SEEDS + 1):
        quantiles = student.ppf(
            (1 + CONFIDENCE) / 2, number - 1) + student.ppf(POWER, number - 1)
        if quantiles * deviation <= mean * math.sqrt(number):
            return number
    return None


def holm(p_values: Mapping[str, float]) -> Dict[str, float]:
    """Correct p values for their number by the method of Holm (1979)."""
    corrected: Dict[str, float] = {}
    least = 0.0
    ascending = sorted(p_values.items(), key=lambda item: item[1])
    for index, (name, p) in enumerate(ascending):
        least = max(least, min(p * (len(ascending) - index), 1.0))
        corrected[name] = least
    return corrected


def rank(results: Mapping[str, Mapping[int, float]], reference: str,
         greater: bool) -> List[Rank]:
    """Rank losses, the best mean first and those without a result last.

    Args:
        results (dict): The metric of each loss by seed.
        reference (str): The loss to compare the others with.
        greater (bool): If True, more is better.
    """
    base = results.get(reference, {})
    differences: Dict[str, List[float]] = {}
    for name, values in results.items():
        pairs = [values[seed] - base[seed] for seed in values if seed in base]
        if name != reference and pairs:
            differences[name] = pairs
    corrected = holm({
        name: paired_p(pairs)
        for name, pairs in differences.items() if len(pairs) > 1
    })
    rows = []
    for name, values in results.items():
        given = differences.get(name)
        p = corrected.get(name)
        rows.append(
            Rank(name, dict(values),
                 interval(list(values.values())) if values else None,
                 interval(given) if given else None, p,
                 verdict(name == reference, given, p, greater)))

    def order(row: Rank) -> Any:
        if row.metric is None:
            return math.inf
        return -row.metric.mean if greater else row.metric.mean

    return sorted(rows, key=order)


def verdict(is_reference: bool, differences: Sequence[float] | None,
            p: float | None, greater: bool) -> str:
    """What the seeds tell about a loss, in a few words."""
    if is_reference:
        return 'the reference'
    if not differences:
        return 'not comparable: no seed ended well with both'
    if p is None:
        return 'one seed tells nothing'
    mean = statistics.fmean(differences)
    if p <= 1 - CONFIDENCE:
        return 'better' if (mean > 0) == greater else 'worse'
    if not any(differences):
        return 'equal'
    needed = seeds_to_tell(differences)
    return 'within the noise' + (f'; {needed} seeds would tell'
                                 if needed else '')
