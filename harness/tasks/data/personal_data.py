"""What in a text looks like personal data: e-mail addresses, phone, account (IBAN) and card numbers.

A look at the form and the check digits, no more: names stand in `people`, street addresses are not found, and a long
number of another kind may be taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

MAX_CHARS = 20_000  # of a cell that are looked at

EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
PHONE = re.compile(
    r"(?<![\w.,+-])(?:(?:\+|00)\d[\d ()/.-]{6,18}\d|\(?0\d{2,4}\)?[ /-]\d{3,4}[ -]?\d{3,5}"
    r"|\(?[2-9]\d{2}\)?[ .-]\d{3}[.-]\d{4})(?![\w])"
)
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
CARD = re.compile(r"(?<![\d.,-])[2-6]\d(?:[ -]?\d){11,17}(?![\d.,-]\d|\d)")
ISSUED = re.compile(r"4\d{12}(?:\d{3})?|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[068]\d{12}|6\d{15}")


def luhn(digits: str) -> bool:
    """Returns whether the last digit of a card number fits the others (ISO/IEC 7812)."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def iban(text: str) -> bool:
    """Returns whether the check digits of an account number fit (ISO 13616: 97 divides it, rest 1)."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _phone(text: str) -> bool:
    return 8 <= sum(map(str.isdigit, text)) <= 15


def _card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return ISSUED.fullmatch(digits) is not None and luhn(digits)


KINDS: tuple[tuple[str, str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("e-mail address", "@", EMAIL, lambda text: True),
    ("IBAN", "", IBAN, iban),
    ("card number", "", CARD, _card),
    ("phone number", "", PHONE, _phone),
)
DIGITS = re.compile(r"\d(?:[ ()/.-]{0,3}\d){6}|[A-Z]{2}\d\d ?[A-Z]{4}")  # what every kind but the first needs


def personal_data(texts: Iterable[str]) -> dict[str, list[int]]:
    """Returns, for each kind of personal data that seems to be there, the positions of the texts that hold it."""
    found: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        head = text[:MAX_CHARS]
        numbers = DIGITS.search(head) is not None
        for kind, needed, pattern, check in KINDS:
            if (needed in head if needed else numbers) and any(check(match[0]) for match in pattern.finditer(head)):
                found.setdefault(kind, []).append(i)
                if not needed:
                    break  # an account number also looks like a card or a phone number
    return found
