r"""Scorer of mathematical answers as they stand in LaTeX: \boxed{\frac{1}{2}}, $\dfrac12$, 0.5 or 1/2."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from harness.scoring.scorers.text import best
from harness.scoring.value_text import MAX_DIGITS

MAX_CHARS = 2000  # of an answer that is read
# In this order; each changes how an expression is set, not what it says.
REWRITES = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\(?:left|right|displaystyle|limits)(?![a-zA-Z])", ""),
        (r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\s*\{\s*([^{}]*?)\s*\}", r"\1"),
        (r"\\\$|\$|\\[()\[\]](?=\s|$)|^\\[(\[]", ""),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])|°", ""),
        (r"\\?%", ""),
        (r"(?<=\d)(?:\{,\}|,\\?!?)(?=\d{3}(?!\d))", ""),
        (r"\\(?:[,;:!> ]|q?quad(?![a-zA-Z]))|~", ""),
        (r"\\(?:cdot|times)(?![a-zA-Z])", "*"),
        (r"\\(?:leq?|geq?|neq?)(?![a-zA-Z])", lambda m: m[0].rstrip("q") if m[0] != r"\neq" else r"\ne"),
        (
            r"(?<=[\d}])\s*(?:square|cubic)?\s*(?:units?|degrees?|cm|mm|km|inches|feet|dollars|cents|hours?|minutes?)"
            r"(?:\s*\^\s*(?:[23]|\{[23]\}))?\s*\.?$",  # at the end alone: what follows a unit says something
            "",
        ),
        (r"\s+", ""),
        (r"^[a-zA-Z](?:\([a-zA-Z]\))?=(?=.)", ""),  # x = 5
        (r"\\frac([^{\\])([^{\\])", r"\\frac{\1}{\2}"),
        (r"\\frac([^{\\])\{", r"\\frac{\1}{"),
        (r"\\frac\{([^{}]*)\}([^{\\])", r"\\frac{\1}{\2}"),
        (r"\\sqrt([^{\[\\])", r"\\sqrt{\1}"),
        (r"(?<![\w}.])([-+]?\d+)/(\d+)(?![\w{])", r"\\frac{\1}{\2}"),
        (r"\\frac\{-([^{}]*)\}", r"-\\frac{\1}"),
        (r"\.$", ""),
    )
)
RATIO = re.compile(r"(-?)\\frac\{(\d+)\}\{(\d+)\}")
DECIMAL = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")


def latex(expected: Any, answer: Any) -> float:
    r"""Returns 1 if the answer is one of the accepted expressions, set in another way perhaps, or the same number.

    What does not count: delimiters, sizes, spacing, degree and per cent signs, units, grouping commas, "x =",
    \dfrac12 for \frac{1}{2}, 1/2 or 0.5 for it. No algebra is done: x+1 is not 1+x.
    """
    return best(expected, answer, lambda one, given: _plain(one) == _plain(given))


def _plain(text: str) -> str | Fraction:
    text = text[:MAX_CHARS].strip()
    for pattern, new in REWRITES:
        text = pattern.sub(new, text)
    if (ratio := RATIO.fullmatch(text)) and len(text) <= MAX_DIGITS and int(ratio[3]):
        return Fraction(int(ratio[1] + ratio[2]), int(ratio[3]))
    return Fraction(text) if DECIMAL.fullmatch(text) and len(text) <= MAX_DIGITS else text
