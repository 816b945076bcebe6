"""How large a difference a test of n samples can show, and how many samples a difference needs.

Miller 2024 (arXiv 2411.00640), section 5: the variance of a paired difference over n questions is
(between + within_a / k_a + within_b / k_b) / n, where k answers are drawn for each question.
"""

from __future__ import annotations

from math import ceil, sqrt

from scipy import special

DISCORDANCE = 0.2  # share of samples on which exactly one of two models is right; an assumption until it is measured


def needed_n(
    difference: float,
    between: float,
    within: tuple[float, float] = (0.0, 0.0),
    draws: tuple[int, int] = (1, 1),
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """Returns the samples needed to show a paired difference, two-sided.

    `between` is the variance over samples of the difference of expected scores; `within` each model's variance over
    repeated answers to one sample; `draws` the answers each gives to a sample.
    """
    if difference == 0:
        raise ValueError("no number of samples shows a difference of 0")
    return ceil(_z(alpha / 2, power) ** 2 * _variance(between, within, draws) / difference**2)


def detectable_difference(
    n: int,
    between: float,
    within: tuple[float, float] = (0.0, 0.0),
    draws: tuple[int, int] = (1, 1),
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Returns the smallest paired difference that n samples show with this power; arguments as in `needed_n`."""
    _check_n(n)
    return _z(alpha / 2, power) * sqrt(_variance(between, within, draws) / n)


def detectable_gap(n: int, discordance: float = DISCORDANCE, alpha: float = 0.05, power: float = 0.8) -> float:
    """Returns the smallest gap in accuracy between two models that n shared 0/1 samples show, as a share.

    n = 412 at the assumed discordance of 0.2: 0.062, "about 6 points". A gap larger than the discordance is
    impossible; where n is too small for that, the discordance is taken to be the gap itself.
    """
    _check_n(n)
    _check_share(discordance, "discordance")
    z = _z(alpha / 2, power)
    gap = z * sqrt(discordance / n)
    return min(1.0, gap if gap <= discordance else z * z / n)


def noninferiority_n(margin: float, discordance: float = DISCORDANCE, alpha: float = 0.05, power: float = 0.8) -> int:
    """Returns the samples needed to show that a model is at most `margin` worse than an equally good one."""
    _check_share(margin, "margin")
    _check_share(discordance, "discordance")
    return ceil(_z(alpha, power) ** 2 * discordance / margin**2)


def _z(tail: float, power: float) -> float:
    _check_share(tail, "alpha")
    _check_share(power, "power")
    return float(special.ndtri(1 - tail) + special.ndtri(power))


def _variance(between: float, within: tuple[float, float], draws: tuple[int, int]) -> float:
    if min(between, *within) < 0 or min(draws) < 1:
        raise ValueError("a variance is negative, or a model draws no answer")
    return between + within[0] / draws[0] + within[1] / draws[1]


def _check_n(n: int) -> None:
    if n < 1:
        raise ValueError(f"{n} samples show nothing")


def _check_share(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}, not a share between 0 and 1")
