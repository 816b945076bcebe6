"""Scorer of instructions that a program can verify: "no commas", "at least 300 words", "end with this phrase".

The 25 kinds of IFEval (Zhou et al. 2023, Instruction-Following Evaluation for Large Language Models), each a function
of the text and the values that the data give it under the same names. INSTRUCTIONS is the one list of them.

Where ours differ from the published program: a keyword is text, never a pattern; a symbol as the letter to count is
counted, not replaced by a letter drawn at random; sentences are told by rules, not by a model of abbreviations that
has to be fetched; the guess of a language is seeded, so that it is the same in every run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from harness.scoring.cells import parts
from harness.scoring.value_text import as_text


def instructions(expected: Any, answer: Any, *, row: Mapping[str, object]) -> tuple[float, dict[str, float]]:
    """Returns 1 if the answer follows every instruction (strict), else 0.

    `expected` is the list of their names, the column `kwargs` of the row their values. Metrics: `loose`, the same
    where each instruction may also hold without the first line, the last line or the asterisks; `followed` and
    `followed_loose`, how many of the instructions.
    """
    text = as_text(answer) or ""
    checks = [(INSTRUCTIONS[name], _given(values)) for name, values in zip(expected, parts(row, "kwargs"), strict=True)]
    strict = [_holds(check, values, [text]) for check, values in checks]
    loose = [_holds(check, values, relaxed(text)) for check, values in checks]
    counts = {"followed": float(sum(strict)), "followed_loose": float(sum(loose))}
    return float(all(strict)), {"loose": float(all(loose)), **counts}


def relaxed(text: str) -> list[str]:
    """Returns the text, and it without its first line, its last line or both; each also without asterisks."""
    lines = text.split("\n")
    texts = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*texts, *(one.replace("*", "") for one in texts)]


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}  # the hub names them all, most empty


def _holds(check: Callable[..., bool], values: Mapping[str, object], texts: Sequence[str]) -> bool:
    return any(text.strip() and check(text, **values) for text in texts)


def _compared(count: int, relation: str, bound: int) -> bool:
    if relation not in ("less than", "at least"):
        raise ValueError(f"the relation {relation!r} is neither 'less than' nor 'at least'")
    return count < bound if relation == "less than" else count >= bound


# --- keywords --------------------------------------------------------------------------------------------------------


def keywords_existence(text: str, keywords: Sequence[str]) -> bool:
    """Tells if each keyword stands in the text, in any case, within words too."""
    return all(_count(word, text) for word in keywords)


def keyword_frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """Tells if a keyword stands in the text less than, or at least, so many times."""
    return _compared(_count(keyword.strip(), text), relation, frequency)


def _count(word: str, text: str) -> int:
    return len(re.findall(re.escape(word), text, re.IGNORECASE))


def forbidden_words(text: str, forbidden_words: Sequence[str]) -> bool:
    """Tells if none of the words stands in the text as a whole word, in any case."""
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """Tells if a letter stands in the text less than, or at least, so many times, in either case."""
    return _compared(text.lower().count(letter.strip().lower()), let_relation, let_frequency)


# --- language --------------------------------------------------------------------------------------------------------


def response_language(text: str, language: str) -> bool:
    """Tells if the text is in a language, by its ISO 639-1 code. A text without words is in every language."""
    return detected(text) in (language, None)


def english_capital(text: str) -> bool:
    """Tells if the text is English, and all of its letters are capitals."""
    return text.isupper() and response_language(text, "en")


def english_lowercase(text: str) -> bool:
    """Tells if the text is English, and none of its letters is a capital."""
    return text.islower() and response_language(text, "en")


def detected(text: str) -> str | None:
    """Returns the most likely language of a text by langdetect, None if there is nothing to tell it by."""
    from langdetect import LangDetectException

    detector = _languages().create()
    detector.append(text)
    try:
        found: str = detector.detect()
        return found
    except LangDetectException:
        return None


@cache
def _languages() -> Any:
    """Returns the maker of langdetect's detectors, drawing the same numbers each time."""
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.seed = 0
    return factory


# --- length ----------------------------------------------------------------------------------------------------------


def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    """Tells if the text has less than, or at least, so many sentences."""
    return _compared(len(sentences(text)), relation, num_sentences)


def number_words(text: str, num_words: int, relation: str) -> bool:
    """Tells if the text has less than, or at least, so many words: runs of letters, digits and _."""
    return _compared(len(re.findall(r"\w+", text)), relation, num_words)


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Tells if *** divides the text into so many paragraphs; none between two dividers may be empty."""
    parts = [part.strip() for part in text.split("***")]
    return all(parts[1:-1]) and sum(map(bool, parts)) == num_paragraphs


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Tells if blank lines divide the text into so many paragraphs, and one of them begins with a word."""
    parts = text.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if count != num_paragraphs or nth_paragraph > count or not (words := parts[nth_paragraph - 1].split()):
        return False
    return re.split(r"""[.,?!'"]""", words[0].lstrip("'").lstrip('"'))[0].lower() == first_word.lower()


_ABBREVIATED = (
    "mr mrs ms dr prof st jr sr rev gen sen rep gov capt lt col sgt hon pres mt ft vs etc inc ltd co corp vol "
    "fig figs pp ca cf al approx dept est e.g i.e a.m p.m u.s u.k u.n ph.d m.d b.a m.a d.c b.c a.d "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
ABBREVIATIONS = frozenset(_ABBREVIATED.split())
CLOSING = "\"'”’)]*_"


def sentences(text: str) -> list[str]:
    """Returns the sentences of an English text: what ends in . ! or ? before white space.

    The full stop of an abbreviation, of an initial and of a number that opens a line ("1.") ends none.
    """
    found, start, line = [], 0, 0
    for match in re.finditer(r"\S+|\n", text):
        if match[0] == "\n":
            line = match.end()
            continue
        body = match[0].rstrip(CLOSING)
        word = body.rstrip(".!?")
        ends_none = body[len(word) :] == "." and _abbreviates(word, text[line : match.start()])
        if len(word) == len(body) or ends_none:
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    rest = text[start:].strip()
    return [*found, rest] if rest else found


def _abbreviates(word: str, before: str) -> bool:
    """Tells if a full stop after a word ends no sentence; `before` is what stands on the line before it."""
    plain = word.lstrip("\"'“‘([*_").lower()
    initial = len(plain) == 1 and plain.isalpha() and plain != "i"
    return plain in ABBREVIATIONS or initial or (plain.isdigit() and not before.strip(" \t*#>-"))


# --- content and form ------------------------------------------------------------------------------------------------


def number_placeholders(text: str, num_placeholders: int) -> bool:
    """Tells if the text has at least so many placeholders in square brackets."""
    return len(re.findall(r"\[[^\[\]\n]*\]", text)) >= num_placeholders


POSTSCRIPTS = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}


def postscript(text: str, postscript_marker: str) -> bool:
    """Tells if a postscript's marker stands in the text, in any case; P.S. may be spaced."""
    marker = postscript_marker.strip()
    return re.search(POSTSCRIPTS.get(marker, re.escape(marker.lower())), text.lower()) is not None


def number_bullet_lists(text: str, num_bullets: int) -> bool:
    """Tells if exactly so many lines are bullet points: they begin with one asterisk, or a hyphen."""
    lines = map(str.strip, text.split("\n"))
    return sum(line.startswith("-") or bool(re.match(r"\*(?!\*)", line)) for line in lines) == num_bullets


OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def constrained_response(text: str) -> bool:
    """Tells if one of the three answers that the prompt offers stands in the text."""
    return any(option in text for option in OPTIONS)


def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    """Tells if the text has at least so many *highlighted* or **highlighted** pieces, each within a line."""
    one = (piece for piece in re.findall(r"\*([^\n*]*)\*", text) if piece.strip())
    two = (piece for piece in re.findall(r"\*\*([^\n*]*)\*\*", text) if piece.strip())
    return len([*one, *two]) >= num_highlights


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """Tells if the text has at least so many headings of a word and a number, as in "Section 1"."""
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", text)) >= num_sections


def json_format(text: str) -> bool:
    """Tells if the text, without a fence around it, is JSON."""
    inside = re.sub(r"\A```(?:json|Json|JSON)?|```\Z", "", text.strip())
    try:
        json.loads(inside)
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    """Tells if a line holds a title in <<double angular brackets>>."""
    spans = (line[line.find("<<") : line.rfind(">>")] for line in text.split("\n") if "<<" in line and ">>" in line)
    return any(span.lstrip("<").rstrip(">").strip() for span in spans)


# --- combination, beginning and end ----------------------------------------------------------------------------------


def two_responses(text: str) -> bool:
    """Tells if six asterisks divide the text into two different answers."""
    parts = [part.strip() for part in text.split("******")]
    answers = [part for part in parts if part]
    return all(parts[1:-1]) and len(answers) == 2 and answers[0] != answers[1]


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    """Tells if the text begins with the request, in any case."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(text: str, end_phrase: str) -> bool:
    """Tells if the text ends with a phrase, in any case, quotation marks after it apart."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(text: str) -> bool:
    """Tells if the text stands in double quotation marks as a whole."""
    return len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] == '"'


def no_comma(text: str) -> bool:
    """Tells if the text has no comma."""
    return "," not in text


# What parts two words: white space, punctuation, and what comes before n't, 's and the like; "cannot" is two words.
APART = re.compile(
    r"""\s+|[][(){}<>"“”«»;:@#$%&?!*,]+|--+|\.{2,}|(?=n't\b)|(?='(?:s|m|d|ll|re|ve)\b)|(?<=\bcan)(?=not\b)""", re.I
)


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """Tells if less than, or at least, so many words are all capitals; a hyphenated word is one."""
    return _compared(sum(map(str.isupper, APART.split(text))), capital_relation, capital_frequency)


INSTRUCTIONS: Mapping[str, Callable[..., bool]] = {
    "keywords:existence": keywords_existence,
    "keywords:frequency": keyword_frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
}
