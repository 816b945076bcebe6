"""What servers mean by refusing a request: one table, for all providers and servers.

    refusal(429, {"retry-after": "2"}, body)  ->  Refused(BUSY, ...)

What is decided is decided by a status and by the fields that a provider made for it (`code`, `type`, `status`,
`reason`, `param`). Only where providers have made none is it decided by the words of their message: `WORDS` has those
that say of an account or of a prompt what no field does. A message may repeat what it was sent, so that words of the
request decide nothing. The status of an error in a stream is the one that its `code` tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from harness.backends.servers.waits import asked_wait


class Meaning(StrEnum):
    """What a refused request is about, and so what is done: go on later, go on without something, fail, or stop."""

    BUSY = "busy"  # too many requests: the same again later, and fewer at once
    ABSENT = "absent"  # nobody can answer: not there, loading, overloaded. The same again later, all others too
    TRANSIENT = "transient"  # the same again
    PARAMETER = "parameter"  # without the parameter that is named
    WITHHELD = "withheld"  # the prompt is filtered: the provider's way to refuse, and an answer
    TOO_LONG = "too long"  # more tokens than the model reads: the sample fails
    PERMANENT = "permanent"  # asked again it would be refused again: the sample fails
    REDIRECT = "redirect"  # to another host, which is not followed: the sample fails
    QUOTA = "quota"  # of a day or a month is used up; it concerns every request, as do all below
    NO_CREDIT = "no credit"
    KEY = "key"
    NO_MODEL = "no model"
    NOT_HERE = "not here"  # not offered where the request comes from


CODES: Mapping[str, Meaning] = MappingProxyType(
    {
        # OpenAI, and Azure (ResponsibleAIPolicyViolation, DeploymentNotFound)
        "insufficient_quota": Meaning.NO_CREDIT,
        "billing_hard_limit_reached": Meaning.NO_CREDIT,
        "billing_not_active": Meaning.NO_CREDIT,
        "account_deactivated": Meaning.KEY,
        "access_terminated": Meaning.KEY,
        "rate_limit_exceeded": Meaning.BUSY,
        "invalid_api_key": Meaning.KEY,
        "model_not_found": Meaning.NO_MODEL,
        "DeploymentNotFound": Meaning.NO_MODEL,
        "unsupported_country_region_territory": Meaning.NOT_HERE,
        "context_length_exceeded": Meaning.TOO_LONG,
        "string_above_max_length": Meaning.TOO_LONG,
        "content_filter": Meaning.WITHHELD,
        "content_policy_violation": Meaning.WITHHELD,
        "invalid_prompt": Meaning.WITHHELD,  # "flagged as potentially violating our usage policy"
        "ResponsibleAIPolicyViolation": Meaning.WITHHELD,
        "unsupported_parameter": Meaning.PARAMETER,
        "unsupported_value": Meaning.PARAMETER,
        "unknown_parameter": Meaning.PARAMETER,
        # Anthropic
        "billing_error": Meaning.NO_CREDIT,
        "rate_limit_error": Meaning.BUSY,
        "overloaded_error": Meaning.ABSENT,
        "authentication_error": Meaning.KEY,
        "permission_error": Meaning.KEY,
        "not_found_error": Meaning.NO_MODEL,
        "request_too_large": Meaning.TOO_LONG,
        "api_error": Meaning.TRANSIENT,
        "timeout_error": Meaning.TRANSIENT,
        # Google
        "RESOURCE_EXHAUSTED": Meaning.BUSY,
        "BILLING_DISABLED": Meaning.NO_CREDIT,
        "API_KEY_INVALID": Meaning.KEY,
        "PERMISSION_DENIED": Meaning.KEY,
        "UNAUTHENTICATED": Meaning.KEY,
        "NOT_FOUND": Meaning.NO_MODEL,
        "FAILED_PRECONDITION": Meaning.NOT_HERE,
        "INTERNAL": Meaning.TRANSIENT,
        "DEADLINE_EXCEEDED": Meaning.TRANSIENT,
        "UNAVAILABLE": Meaning.ABSENT,
        # open servers
        "exceed_context_size_error": Meaning.TOO_LONG,
        "unavailable_error": Meaning.ABSENT,  # llama.cpp while it loads
        "overloaded": Meaning.ABSENT,
        "server_overloaded": Meaning.ABSENT,
        "service_unavailable": Meaning.ABSENT,
        "ServiceUnavailable": Meaning.ABSENT,
        "engine_overloaded_error": Meaning.ABSENT,  # Moonshot
        "model_loading": Meaning.ABSENT,
        # other providers, and gateways
        "insufficient_credits": Meaning.NO_CREDIT,
        "budget_exceeded": Meaning.NO_CREDIT,
        "insufficient_balance": Meaning.NO_CREDIT,
        "insufficient_funds": Meaning.NO_CREDIT,
        "payment_required": Meaning.NO_CREDIT,
        "credits_exhausted": Meaning.NO_CREDIT,
        "exceeded_current_quota_error": Meaning.NO_CREDIT,  # Moonshot
        "Arrearage": Meaning.NO_CREDIT,  # Alibaba
        "data_inspection_failed": Meaning.WITHHELD,
        "DataInspectionFailed": Meaning.WITHHELD,
        "moderation_blocked": Meaning.WITHHELD,
        "moderation": Meaning.WITHHELD,
        "rate_limit": Meaning.BUSY,
        "rate_limited": Meaning.BUSY,
        "too_many_requests": Meaning.BUSY,
        "daily_limit_exceeded": Meaning.QUOTA,
        "quota_exceeded": Meaning.QUOTA,
    }
)
PARAMETERS: Mapping[str, Meaning] = MappingProxyType({"input_tokens": Meaning.TOO_LONG})  # vLLM: which `param` it is
STATUSES: Mapping[int, Meaning] = MappingProxyType(
    {
        401: Meaning.KEY,
        402: Meaning.NO_CREDIT,
        403: Meaning.KEY,
        404: Meaning.NO_MODEL,
        408: Meaning.TRANSIENT,
        409: Meaning.TRANSIENT,
        413: Meaning.TOO_LONG,
        425: Meaning.TRANSIENT,
        429: Meaning.BUSY,
        498: Meaning.BUSY,  # Groq: no capacity
        502: Meaning.ABSENT,  # a gateway, without a server behind it, as are the next and those of Cloudflare
        503: Meaning.ABSENT,
        504: Meaning.ABSENT,
        521: Meaning.ABSENT,
        522: Meaning.ABSENT,
        523: Meaning.ABSENT,
        529: Meaning.ABSENT,  # overloaded
    }
)
LONGEST_SAID = 2000  # characters of a message that are read
ABOUT_THE_REQUEST = frozenset({400, 422})  # where a refused parameter may stand
_WORDLESS = frozenset({400, 402, 403, 412, 422, 429})  # under which providers say one of these in words alone
WORDS: tuple[tuple[re.Pattern[str], Meaning], ...] = tuple(
    (re.compile(words, re.IGNORECASE), meaning)
    for words, meaning in (
        (r"credit balance is too low", Meaning.NO_CREDIT),  # Anthropic
        (r"insufficient (account )?(balance|credits?|funds)|(run|ran) out of credits?", Meaning.NO_CREDIT),
        (r"(no|used all) (available |remaining )?credits|credits? (has|have) been (exhausted|used)", Meaning.NO_CREDIT),
        (r"(spending|spend|billing|budget) (hard )?(limit|cap)\b.{0,40}(reached|exceeded)", Meaning.NO_CREDIT),
        (r"(reached|exceeded|hit) (your|its|the|their)\b.{0,30}(spending|spend|billing|budget) ", Meaning.NO_CREDIT),
        (r"budget has been exceeded", Meaning.NO_CREDIT),  # LiteLLM
        (r"reached your specified API usage limits", Meaning.NO_CREDIT),  # Anthropic: a limit of one's own
        (r"enable billing|billing (is )?not (enabled|active)|account is (suspended|in arrears)", Meaning.NO_CREDIT),
        (r"(block|stopp)ed by (our |the )?content filter", Meaning.WITHHELD),  # Anthropic
        (r"content exists risk", Meaning.WITHHELD),  # DeepSeek
        (r"content (violates|management policy)|violat\w+ (our |the )?(usage|content) (policy|policies|guidelines)",
         Meaning.WITHHELD),
        (r"(flagged|blocked|rejected) (by|for|as)\b.{0,40}(moderation|safety|policy|inappropriate|violat)",
         Meaning.WITHHELD),
        (r"may contain inappropriate content", Meaning.WITHHELD),  # Alibaba
    )
)  # fmt: skip
_A_DAY = re.compile(r"(PerDay|PerMonth)", re.ASCII)  # of Google's names of quotas, whose delay says nothing of them
_GENERAL = frozenset({Meaning.BUSY, Meaning.KEY, Meaning.NOT_HERE})  # codes that may stand for something else in words


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that a server did not answer, as its tables read it."""

    status: int | None  # None: it was accepted, and the stream then told of an error
    meaning: Meaning
    said: str  # for people
    code: str = ""  # the field that decided
    parameter: str = ""  # the one it is about, by the server's own field
    wait_s: float | None = None  # as the server asks

    @property
    def kind(self) -> str:
        """Returns the short and fixed name by which failures are counted."""
        return "server error" if self.status is None else f"http {self.status}"

    @property
    def of_the_account(self) -> bool:
        """Returns whether it is sure that every other request would be refused too."""
        lasting = {Meaning.QUOTA, Meaning.NO_CREDIT}
        named = {Meaning.KEY, Meaning.NO_MODEL, Meaning.NOT_HERE}
        return self.meaning in lasting or (self.meaning in named and (bool(self.code) or self.status == 401))


def refusal(
    status: int | None, headers: Mapping[str, str], body: Mapping[str, Any], said: str = "", sent: str = ""
) -> Refused:
    """Returns what a refused request means.

    `said` stands for a body without a message; `sent` is the text of the request: its own words decide nothing.
    """
    inner = body.get("error")
    told: Mapping[str, Any] = inner if isinstance(inner, Mapping) else body
    found = next((code for code in _codes(told) if code in CODES), "")
    plain = inner if isinstance(inner, str) else ""
    message = str(told.get("message") or told.get("detail") or plain or said)[:LONGEST_SAID]
    wait, parameter = asked_wait(headers, told), _parameter(told)
    as_status = _status(told) if status is None else status
    meaning = CODES[found] if found else PARAMETERS.get(parameter) or _by_status(as_status)
    if not found or meaning in _GENERAL:
        meaning = _particular(told) or _by_words(as_status, message, sent) or meaning
    if parameter and meaning is Meaning.PERMANENT and as_status in ABOUT_THE_REQUEST:
        meaning = Meaning.PARAMETER
    return Refused(status, meaning, message, found, parameter, wait)


def _status(told: Mapping[str, object]) -> int | None:
    """Returns the status that an error in a stream tells as its code; None for any other code."""
    for name in ("code", "status", "status_code"):
        value = told.get(name)
        if str(value).isdecimal() and 400 <= int(str(value)[:4]) < 600:
            return int(str(value))
    return None


def _by_status(status: int | None) -> Meaning:
    if status is None:
        return Meaning.TRANSIENT
    if 300 <= status < 400:
        return Meaning.REDIRECT
    return STATUSES.get(status, Meaning.TRANSIENT if status >= 500 else Meaning.PERMANENT)


def _particular(told: Mapping[str, object]) -> Meaning | None:
    """Returns what fields tell that are no codes: a filter's findings (OpenRouter), a quota's name (Google)."""
    metadata = told.get("metadata")
    if isinstance(metadata, Mapping) and ("flagged_input" in metadata or metadata.get("reasons")):
        return Meaning.WITHHELD
    quotas = (one for detail in _mappings(told.get("details")) for one in _mappings(detail.get("violations")))
    return Meaning.QUOTA if any(_A_DAY.search(str(one.get("quotaId") or "")) for one in quotas) else None


def _by_words(status: int | None, message: str, sent: str) -> Meaning | None:
    """Returns what a message says of the account or the prompt in words of its own."""
    if status is not None and status not in _WORDLESS:
        return None
    for words, meaning in WORDS:
        found = words.search(message)
        if found is not None and found[0].lower() not in sent.lower():
            return meaning
    return None


def _codes(told: Mapping[str, object]) -> Iterator[str]:
    """Yields what may name the error, the most particular first."""
    for detail in _mappings(told.get("details")):
        yield str(detail.get("reason") or "")
    inner = told.get("innererror")
    yield str(inner.get("code") or "") if isinstance(inner, Mapping) else ""
    yield from (str(told.get(name) or "") for name in ("code", "status", "type"))


def _parameter(told: Mapping[str, Any]) -> str:
    """Returns the parameter an error names in a field made for it: OpenAI's, FastAPI's (vLLM, SGLang) or Google's."""
    named = str(told.get("param") or "")
    for item in _mappings(told.get("detail")):
        place = item.get("loc")
        named = named or (str(place[1]) if isinstance(place, list) and len(place) > 1 and place[0] == "body" else "")
    for detail in _mappings(told.get("details")):
        for violation in _mappings(detail.get("fieldViolations")):
            named = named or _snake(str(violation.get("field") or "").rpartition(".")[2])
    return re.split(r"[.\[]", named)[0]


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
