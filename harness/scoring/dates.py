"""Dates as they are written in the languages of Europe, Chinese, Japanese and Korean."""

from __future__ import annotations

import datetime
import re
import unicodedata
from typing import Any

from harness.scoring.plain_text import squash
from harness.scoring.value_text import as_seen

# Months by language, without accents. A shorter form is read where it can be the beginning of one month only.
NAMES = (
    "january february march april may june july august september october november december",
    "januar februar marz april mai juni juli august september oktober november dezember",
    "janner feber maerz",  # of Austria; the third is how German is written without umlauts
    "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "janeiro fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "januari februari mars april maj juni juli augusti september oktober november december",
    "januar februar marts april maj juni juli august september oktober november december",
    "januar februar mars april mai juni juli august september oktober november desember",
    "stycznia lutego marca kwietnia maja czerwca lipca sierpnia wrzesnia pazdziernika listopada grudnia",
    "styczen luty marzec kwiecien maj czerwiec lipiec sierpien wrzesien pazdziernik listopad grudzien",
    "ledna unora brezna dubna kvetna cervna cervence srpna zari rijna listopadu prosince",
    "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie",
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь",
    "січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня",
    "januar februar marcius aprilis majus junius julius augusztus szeptember oktober november december",
    "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesakuuta heinakuuta elokuuta syyskuuta lokakuuta"
    " marraskuuta joulukuuta",
    "ocak subat mart nisan mayis haziran temmuz agustos eylul ekim kasim aralik",
    "jan feb mar apr may jun jul aug sep oct nov dec",
    "i ii iii iv v vi vii viii ix x xi xii",
)


def _bare(text: str) -> str:
    """Returns lower case without accents."""
    plain = unicodedata.normalize("NFD", text.casefold().replace("ł", "l").replace("ı", "i"))
    return unicodedata.normalize("NFC", "".join(c for c in plain if not unicodedata.combining(c)))


EXACT = {_bare(name): i for names in NAMES for i, name in enumerate(names.split(), 1)}


def _month(word: str) -> int | None:
    """Returns 1 to 12 for a month's name or number, None for what is neither or could be two."""
    if word.isdecimal():
        return int(word)
    if (known := EXACT.get("marz" if word == "mrz" else word)) is not None:
        return known
    begun = {month for name, month in EXACT.items() if len(word) >= 3 and name.startswith(word)}
    return begun.pop() if len(begun) == 1 else None


DAY, YEAR, MONTH = r"(?P<day>\d{1,2})", r"(?P<year>\d{4})", r"(?P<month>[^\W\d_]+)\.?"
WEEKDAY = r"(?:[^\W\d_-]+(?:-[^\W\d_]+)?\.?,?\s+)??"  # also "den", "le", "el", "on"
FORMS = tuple(
    re.compile(
        form + r"(?:\s?(?:г|года|р|r|roku|an)\.?)?(?:(?:,?\s+(?:um|at|a|à|om|kl\.?|в)?\s?|t)\d{1,2}[:.h]\d{2}.*)?"
    )
    for form in (
        rf"{YEAR}([-/.])(?P<month>\d{{1,2}})\2{DAY}",
        rf"{YEAR}(?P<month>\d{{2}})(?P<day>\d{{2}})",
        rf"{YEAR}\s?[年년]\s?(?P<month>\d{{1,2}})\s?[月월]\s?{DAY}\s?[日일]",
        rf"{WEEKDAY}{DAY}\.\s?(?P<month>\d{{1,2}})\.\s?{YEAR}",  # with points the day comes first everywhere
        rf"{WEEKDAY}{WEEKDAY}{DAY}(?:st|nd|rd|th|er|eme|[ºª°oa])?[./\s-]\s?(?:of\s+|de\s+|d'|di\s+)?{MONTH}"
        rf"[,./\s-]\s?(?:de\s+|del\s+|di\s+)?{YEAR}",
        rf"{WEEKDAY}{MONTH}\s+{DAY}(?:st|nd|rd|th)?,?\s+{YEAR}",
        rf"{YEAR}[.\s-]\s?{MONTH}[\s-]\s?{DAY}\.?",
    )
)
EITHER = re.compile(r"(?P<a>\d{1,2})[/-](?P<b>\d{1,2})[/-](?P<year>\d{4})")  # 03/05/2024: March or May?
DASHES = str.maketrans("‐‑‒–—−／．，", "------/.,")


def as_date(value: Any, dayfirst: bool | None = None) -> datetime.date | None:
    """Returns the date that a text is (a time of day is dropped), None if it is none.

    Months by number, Roman number or name. Two numbers before a year are read by `dayfirst`; without it only if one
    of them cannot be a month, or both are the same. Years of two digits are not guessed.
    """
    if isinstance(value, datetime.date):
        return value.date() if isinstance(value, datetime.datetime) else value
    text = _plain(value[:100]) if isinstance(value, str) else ""
    for form in FORMS:
        if (found := form.fullmatch(text)) and (month := _month(found["month"])) is not None:
            return _date(int(found["year"]), month, int(found["day"]))
    if not (found := EITHER.fullmatch(text)):
        return None
    a, b, year = int(found["a"]), int(found["b"]), int(found["year"])
    readings = {_date(year, b, a)} if dayfirst else {_date(year, a, b)} if dayfirst is False else set()
    readings = readings or {_date(year, b, a), _date(year, a, b)} - {None}
    return next(iter(readings)) if len(readings) == 1 else None


def _plain(text: str) -> str:
    """Returns the text in lower case without accents, its digits as ASCII, nothing around it."""
    text = "".join(str(unicodedata.decimal(c, c)) for c in as_seen(text).translate(DASHES))
    return squash(_bare(text)).strip("*_`\"' ").removesuffix(".")


def _date(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None
