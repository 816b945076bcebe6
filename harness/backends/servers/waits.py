"""How long a server asks to wait before the next request, in each of the ways servers have to say it. Seconds.

    Retry-After: 7                     seconds, or a date; Retry-After-Ms is the more exact one
    "details": [{"retryDelay": "35s"}]     Google's RetryInfo
    "retry_after": 5                   of some gateways, in the error itself

0, and a moment that is past, say nothing of how long: it is for whoever asks again to wait longer each time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_S = 100 * 366 * 86400.0  # a longer wait is none that anybody meant


def asked_wait(headers: Mapping[str, str], told: Mapping[str, object]) -> float | None:
    """Returns the seconds that the headers or the body of a refusal ask to wait; None where they say nothing."""
    millis = retry_after(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    header = retry_after(headers.get("retry-after"))
    return header if header is not None else next(_in_body(told), None)


def _in_body(told: Mapping[str, object]) -> Iterator[float]:
    details = told.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if (seconds := _duration(delay)) is not None:
            yield seconds
    metadata = told.get("metadata")
    for place in (told, metadata if isinstance(metadata, Mapping) else {}):
        for name in ("retry_after", "retry_after_seconds", "retryAfter"):
            if (seconds := _duration(place.get(name))) is not None:
                yield seconds


def _duration(value: Any) -> float | None:
    """Returns the seconds of 5, 5.0, "5" or "5s"; of Google also {"seconds": 5, "nanos": 1}."""
    if isinstance(value, Mapping):
        value = value.get("seconds", 0)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s?\s*", str(value))
    return None if found is None else _sane(float(found[1]))


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Returns the seconds of a Retry-After header, which holds seconds or a date; None for none or neither."""
    if not value:
        return None
    try:
        return _sane(float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return _sane(max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()))


def _sane(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and 0 <= seconds <= LONGEST_S else None
