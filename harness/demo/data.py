"""The three demo data sets: what is committed under `tasks/`, and the endless stream the demo models are trained on.

    python -m harness.demo.data          writes tasks/*.jsonl and prints the sha256 of each

All text was written for this project. The test rows use templates and slot values that the training stream never
uses (`words.py` holds the two sides apart; numbers and dates are divided by a rule, `Side.takes`). For product-facts
the facts themselves must be the same, since the models can only know them from training: there the wordings of the
questions and the sets of four options are held out.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from harness.demo import words

TASKS_DIR = Path(__file__).resolve().parents[2] / "tasks"
COMMITTED_SEED = 2026
TEST_ROWS = {"support-routing": 400, "invoice-fields": 300, "product-facts": 400}
DEV_ROWS = {"support-routing": 16, "invoice-fields": 5, "product-facts": 5}
LETTERS = "ABCD"
Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True)
class Example:
    """One row, and what it was made of. `templates` and `slots` prove that test and training share nothing."""

    row: Mapping[str, Any]
    templates: frozenset[str]
    slots: frozenset[str]


@dataclass(frozen=True, slots=True)
class Side:
    """Training or test: which half of every pair in `words.py`, and which numbers, are allowed."""

    index: int  # into the (train, test) pairs

    def takes(self, key: object) -> bool:
        """Says whether a number, date or invented word belongs to this side: one in five is held out for the test."""
        return (zlib.crc32(str(key).encode()) % 5 == 0) == (self.index == 1)

    def draw(self, rng: random.Random, make: Callable[[random.Random], Drawn]) -> Drawn:
        """Returns the first of `make(rng)`, drawn again and again, that belongs to this side."""
        while not self.takes(value := make(rng)):
            pass
        return value


TRAIN, TEST = Side(0), Side(1)


def examples(task: str, side: Side, rng: random.Random) -> Iterator[Example]:
    """Yields examples of a task without end. The rows hold no `id` or `split`."""
    make = {"support-routing": _ticket, "invoice-fields": _invoice, "product-facts": _question}[task]
    while True:
        yield make(side, rng)


def committed(task: str) -> list[Example]:
    """Returns the examples whose rows are committed: the dev rows (from the training side), then the test rows."""
    found: list[Example] = []
    for split, side, count in (("dev", TRAIN, DEV_ROWS[task]), ("test", TEST, TEST_ROWS[task])):
        rng = random.Random(f"{COMMITTED_SEED} {task} {split}")
        seen: set[str] = set()
        stream = examples(task, side, rng)
        for number in range(1, count + 1):
            while _text(example := next(stream)) in seen:
                pass
            seen.add(_text(example))
            row = {"id": f"{split}-{number:03d}", "split": split, **example.row}
            found.append(Example(row, example.templates, example.slots))
    return found


@cache
def catalogue() -> dict[tuple[str, str], str]:
    """Returns {(product, attribute): value}, every fact of the invented catalogue."""
    rng = random.Random(f"{COMMITTED_SEED} catalogue")
    return {
        (name, attribute): rng.choice(values) for name in words.PRODUCTS for attribute, values in words.VALUES.items()
    }


def statement(rng: random.Random) -> Example:
    """Returns one fact of the catalogue in training words: as a sentence, or as a question and its answer."""
    (name, attribute), value = rng.choice(list(catalogue().items()))
    template = rng.choice((*words.STATEMENTS[attribute], *(f"{q} {{value}}" for q in words.QUESTIONS[attribute][0])))
    return Example({"text": template.format(name=name, value=value)}, frozenset({template}), frozenset())


def _text(example: Example) -> str:
    return str(example.row.get("ticket") or example.row.get("text") or example.row["question"])


def _expand(template: str, rng: random.Random) -> str:
    """Replaces each `[a|b|c]` by one of its parts."""
    return re.sub(r"\[([^\]]*)\]", lambda found: rng.choice(found[1].split("|")), template)


def _misspell(text: str, rng: random.Random, rate: float) -> str:
    """Returns the text with slips of the finger in a share of its longer lower-case words; `{slots}` are left alone."""

    def slip(found: re.Match[str]) -> str:
        word = found[0]
        if rng.random() >= rate:
            return word
        i = rng.randrange(1, len(word) - 2)
        return rng.choice(
            (word[:i] + word[i + 1] + word[i] + word[i + 2 :], word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:])
        )

    return re.sub(r"(?<![{\w])[a-z]{5,}(?![}\w])", slip, text)


def _shorten(text: str, forms: Mapping[str, str]) -> str:
    return re.sub(r"(?<![{\w])[a-z]+(?![}\w])", lambda found: forms.get(found[0], found[0]), text)


# --- support-routing ---------------------------------------------------------------------------------------------


def _ticket(side: Side, rng: random.Random) -> Example:
    """Returns a support ticket and the team that should handle it.

    About one ticket in six names two requests. A phrase says which of them counts, or (difficulty `ambiguous`) none
    does: then the first is right in seven of ten, so nobody can get them all.
    """
    team, other = rng.sample(words.TEAMS, 2)
    difficulty = rng.choices(("plain", "noisy", "two requests", "ambiguous"), (50, 34, 11, 5))[0]
    body = rng.choice(words.TICKETS[team][side.index])
    templates = [body]
    if difficulty in ("two requests", "ambiguous"):
        extra = rng.choice(words.TICKETS[other][side.index])
        joints: tuple[str, ...]
        if difficulty == "ambiguous":
            joints, body_first = words.JOINED[side.index], rng.random() < 0.7
        else:
            joints, body_first = rng.choice(((words.LATER[side.index], True), (words.RATHER[side.index], False)))
        joint = rng.choice(joints)
        templates += [extra, joint]
        body = f"{body} {joint}{extra}" if body_first else f"{extra} {joint}{body}"
    channel = rng.choice(("email", "chat", "form"))
    slots = {
        "item": rng.choice(words.ITEMS[side.index]),
        "order": str(side.draw(rng, lambda r: r.randrange(10_000, 99_999))),
        "amount": _money(side.draw(rng, _cents), rng.choice(("EUR", "USD", "GBP")), rng),
        "code": str(side.draw(rng, lambda r: r.randrange(100, 999))),
        "days": rng.choice((("3", "five", "12", "two", "20"), ("4", "nine", "15", "six"))[side.index]),
        "many": rng.choice((("10", "25", "forty", "60"), ("12", "30", "eighty"))[side.index]),
    }
    if channel != "form":
        opening = rng.choice(words.OPENINGS[side.index])
        aside, closing = rng.choice(words.ASIDES[side.index]), rng.choice(words.CLOSINGS[side.index])
        templates += [part for part in (opening, aside, closing) if part]
        middle = (f"{aside} {body}" if rng.random() < 0.4 else f"{body} {aside}").strip()
        body = f"{opening}{middle} {closing}".strip()
    body = _expand(body, rng)
    if difficulty == "noisy":
        body = _misspell(body, rng, rate=0.22)
        if rng.random() < 0.5:
            body = _shorten(body, words.SHORT_FORMS[side.index])
    named = set(re.findall(r"\{(\w+)\}", body))
    text = body.format_map(slots)
    text = text[:1].upper() + text[1:]
    if channel == "email" and rng.random() < 0.6:
        signature = rng.choice(words.SIGNATURES[side.index])
        text += f" -- {signature}"
        slots["signature"] = signature
        named.add("signature")
    if (difficulty == "noisy" and rng.random() < 0.5) or (channel == "chat" and rng.random() < 0.4):
        text = text.lower()
    row = {
        "ticket": text,
        "team": team,
        "customer_id": f"C{rng.randrange(120):03d}",
        "channel": channel,
        "difficulty": difficulty,
    }
    return Example(row, frozenset(templates), frozenset(f"{name}={slots[name]}" for name in named))


# --- invoice-fields ----------------------------------------------------------------------------------------------


def _invoice(side: Side, rng: random.Random) -> Example:
    """Returns an invoice or a mail about one, and its fields. Net sums and due dates are there to be confused with."""
    template = rng.choice(words.INVOICES[side.index])
    currency = rng.choice(words.CURRENCIES)
    cents = side.draw(rng, _cents)
    issued = date(2023, 1, 1) + timedelta(days=side.draw(rng, lambda r: r.randrange(1000)))
    write_date = rng.choices((_date_iso, _date_dots, _date_words, _date_us, _date_slashes), (30, 20, 25, 15, 10))[0]
    vendor = " ".join(_vendor_word(side, rng) for _ in range(rng.choice((1, 2))))
    vendor += " " + rng.choice(words.LEGAL_FORMS)
    prefix = rng.choice(words.NUMBER_PREFIXES[side.index])
    number = prefix + str(side.draw(rng, lambda r: r.randrange(1000, 99_999)))
    order = f"{side.draw(rng, lambda r: r.randrange(10_000, 99_999))}" if rng.random() < 0.5 else None
    order_line = rng.choice(words.PO_LINES[side.index]) if order else ""
    difficulty = rng.choices(("plain", "noisy"), (70, 30))[0]
    layout = _expand(template.replace("{po}", order_line), rng)
    if difficulty == "noisy":
        layout = _misspell(layout, rng, rate=0.3)
        layout = layout.lower() if rng.random() < 0.4 else layout
    style = rng.random()
    text = layout.format(
        vendor=vendor,
        number=number,
        date=write_date(issued, currency),
        due=write_date(issued + timedelta(days=30), currency),
        total=_money(cents, currency, random.Random(style)),
        net=_money(round(cents / 1.2), currency, random.Random(style)),
        po=order,
    )
    fields = {
        "vendor": vendor,
        "number": number,
        "date": issued.isoformat(),
        "currency": currency,
        "total": cents // 100 if cents % 100 == 0 else cents / 100,
        "purchase_order": order,
    }
    row = {
        "text": text,
        "fields": fields,
        "channel": "email" if re.search(r"dear|hello|hi,|good day", layout, re.IGNORECASE) else "scan",
        "difficulty": difficulty,
    }
    slots = {f"vendor={vendor}", f"number={number}", f"total={cents}", f"date={issued}"}
    if order:
        slots.add(f"purchase_order={order}")
    return Example(row, frozenset({template, order_line} - {""}), frozenset(slots))


def _vendor_word(side: Side, rng: random.Random) -> str:
    first, middle, last = words.SYLLABLES
    return side.draw(rng, lambda r: r.choice(first) + (r.choice(middle) if r.random() < 0.6 else "") + r.choice(last))


def _cents(rng: random.Random) -> int:
    """Returns a sum of 5 to 9,999 in hundredths; a third are whole."""
    whole = rng.randrange(5, rng.choice((100, 1000, 9999)))
    return whole * 100 + (0 if rng.random() < 0.33 else rng.randrange(1, 100))


def _money(cents: int, currency: str, rng: random.Random) -> str:
    """Returns a sum as people write it: 1240.50 EUR, EUR 1240.50, €1240.50."""
    digits = f"{cents / 100:.2f}"
    if currency in words.SYMBOLS and rng.random() < 0.4:
        return words.SYMBOLS[currency] + digits
    return f"{currency} {digits}" if rng.random() < 0.5 else f"{digits} {currency}"


def _date_iso(day: date, currency: str) -> str:
    return day.isoformat()


def _date_dots(day: date, currency: str) -> str:
    return f"{day.day:02d}.{day.month:02d}.{day.year}"


def _date_words(day: date, currency: str) -> str:
    return f"{day.day} {words.MONTHS[day.month - 1]} {day.year}"


def _date_us(day: date, currency: str) -> str:
    return f"{words.MONTHS[day.month - 1]} {day.day}, {day.year}"


def _date_slashes(day: date, currency: str) -> str:
    """Returns 03/04/2025: month first where the invoice is in dollars, day first elsewhere. Only the currency tells."""
    first, second = (day.month, day.day) if currency == "USD" else (day.day, day.month)
    return f"{first:02d}/{second:02d}/{day.year}"


# --- product-facts -----------------------------------------------------------------------------------------------


def _question(side: Side, rng: random.Random) -> Example:
    """Returns a four-choice question on one fact of the catalogue."""
    (name, attribute), value = rng.choice(list(catalogue().items()))
    template = rng.choice(words.QUESTIONS[attribute][side.index])
    others = [other for other in words.VALUES[attribute] if other != value]

    def options(r: random.Random) -> tuple[str, ...]:
        return tuple(r.sample([value, *r.sample(others, 3)], 4))

    drawn = side.draw(rng, options)
    difficulty = "noisy" if rng.random() < 0.2 else "plain"
    question = _misspell(template, rng, rate=0.3) if difficulty == "noisy" else template
    row = {
        "question": question.format(name=name),
        **dict(zip(LETTERS, drawn)),
        "answer": LETTERS[drawn.index(value)],
        "attribute": attribute,
        "product": name,
        "difficulty": difficulty,
    }
    return Example(row, frozenset({template}), frozenset({"options=" + "|".join(drawn)}))


def render_rows(task: str) -> str:
    """Returns the committed rows of a task as JSON lines."""
    return "".join(json.dumps(example.row, ensure_ascii=False) + "\n" for example in committed(task))


def path_of(task: str) -> Path:
    """Returns where the committed rows of a task are."""
    return TASKS_DIR / f"{task.replace('-', '_')}.jsonl"


def main() -> None:
    """Writes the three files and prints their sha256, for the task files."""
    for task in TEST_ROWS:
        content = render_rows(task).encode()
        path_of(task).write_bytes(content)
        print(hashlib.sha256(content).hexdigest(), path_of(task).name)


if __name__ == "__main__":
    main()
