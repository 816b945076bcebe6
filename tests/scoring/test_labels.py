"""A label that is stated is found in any language; one that is denied, asked, or part of a word or number is not."""

from __future__ import annotations

import unicodedata

import pytest

from harness.scoring.extractors import extract

YES_NO, TONE = ("yes", "no"), ("positive", "negative", "neutral")
TEAMS, GERMAN = ("billing", "shipping", "returns"), ("Rückgabe", "Versand", "Rechnung")
RATING = tuple("12345")


def said(labels: tuple[str, ...], found: str | None, *texts: str) -> list[tuple[tuple[str, ...], str, str | None]]:
    return [(labels, text, found) for text in texts]


CASES = [
    # "no" before a noun is no answer; as a clause of its own it is
    *said(YES_NO, None, "I have no idea", "There is no information on that", "no problem at all", "It has no wheels."),
    *said(YES_NO, None, "There might be yes and no", "Nobody knows", "Not necessarily", "yes or no", "", "unknown"),
    *said(YES_NO, "no", "No.", "No, it is not.", "The answer is no.", "no", "**No**", "No because it rains", "So, no."),
    *said(YES_NO, "no", "The answer is no because there is no evidence", "No - there is no reason", "Final answer: No"),
    *said(YES_NO, "yes", "Yes.", "Yes, there is no doubt", "Yes, because there is no reason not to", "I say yes"),
    *said(("sí", "no"), "sí", "Sí, no hay duda.", "La respuesta es sí.", "SÍ"),
    *said(("sí", "no"), None, "no hay información", "no lo sé"),
    *said(("ja", "nein"), "nein", "Nein.", "Die Antwort ist nein.", "Nein, das stimmt nicht"),
    *said(("oui", "non"), "non", "Non.", "La réponse est non."),
    *said(("oui", "non"), None, "une demande non remboursable"),
    # denied
    *said(TONE, None, "Not at all positive", "hardly positive", "Far from positive", "far from being positive"),
    *said(
        TONE,
        None,
        "anything but positive",
        "It isn't positive",
        "not really positive",
        "never positive",
        "non-positive",
    ),
    *said(
        TONE,
        None,
        "neither positive nor negative",
        "not positive or negative",
        "positive is wrong",
        "by no means positive",
    ),
    *said(TONE, None, "I would not call it positive", "barely positive", "positive? No.", "It's not a positive review"),
    *said(
        TONE,
        "negative",
        "Not positive but negative",
        "not positive, rather negative",
        "Positive? No. Negative.",
        "not neutral. Negative!",
    ),
    *said(
        TONE, "positive", "No doubt it is positive", "without question positive", "not only positive, but very positive"
    ),
    *said(
        TEAMS, "shipping", "Billing? No. Shipping.", "It's not billing, it's shipping.", "shipping rather than billing"
    ),
    *said(
        TEAMS,
        "shipping",
        "Billing is wrong, it is shipping",
        "shipping (not billing)",
        "Is it billing? It is shipping.",
    ),
    *said(TEAMS, "billing", "Billing?", "Is it billing? Yes."),
    *said(
        TEAMS, None, "billing or shipping", "Billing? No.", "Billing? Shipping?", "rule out billing", "without billing"
    ),
    *said(
        GERMAN,
        None,
        "kein Versand",
        "keine Rückgabe",
        "nicht Versand",
        "weder Rückgabe noch Versand",
        "Versand ist falsch",
    ),
    *said(
        GERMAN,
        None,
        "Versand ist es nicht",
        "Es geht nicht um Versand",
        "Das ist keineswegs eine Rückgabe",
        "Versandkosten",
    ),
    *said(
        GERMAN, "Rückgabe", "nicht Versand, sondern Rückgabe", "Nicht Versand sondern Rückgabe", "Es ist eine Rückgabe."
    ),
    *said(
        GERMAN,
        "Rückgabe",
        "RÜCKGABE",
        "Die Kategorie ist Rückgabe, nicht Versand.",
        "Rückgabe, weil defekt",
        "„Rückgabe“",
    ),
    *said(("retour", "livraison"), None, "pas de retour", "ce n'est pas un retour", "ni retour ni livraison"),
    *said(
        ("retour", "livraison"), "livraison", "Ce n'est pas un retour mais une livraison", "La réponse est livraison."
    ),
    *said(("envío", "devolución"), "devolución", "no es envío, sino devolución", "La categoría es devolución"),
    *said(("envío", "devolución"), None, "no es envío", "nunca envío", "ni envío ni devolución"),
    *said(("reso", "spedizione"), "spedizione", "non è un reso, ma una spedizione", "La risposta è spedizione"),
    *said(("reso", "spedizione"), None, "non è reso", "nessun reso"),
    *said(("envio", "troca"), "troca", "não é envio, mas troca", "A resposta é troca."),
    *said(("envio", "troca"), None, "não é envio", "nenhum envio"),
    *said(("retour", "levering"), "levering", "niet retour maar levering", "Het is een levering."),
    *said(("retour", "levering"), None, "geen retour", "niet de levering"),
    *said(("возврат", "доставка"), "доставка", "не возврат, а доставка", "Это доставка", "Ответ: доставка"),
    *said(("возврат", "доставка"), None, "не возврат", "это не доставка", "ни возврат, ни доставка"),
    *said(("正面", "负面"), None, "不是正面", "并非正面", "正面不正确", "正面和负面", "没有正面"),
    *said(("正面", "负面"), "负面", "不是正面，而是负面", "答案是负面", "这是负面的", "负面。"),
    *said(("満足", "不満"), "満足", "満足です", "答えは満足"),
    *said(("肯定", "否定"), None, "肯定ではない", "肯定ではありません"),
    *said(("긍정", "부정"), "긍정", "긍정입니다", "정답은 긍정입니다", "긍정적"),
    *said(("긍정", "부정"), None, "긍정이 아닙니다", "긍정 아니다"),
    # words within words, and signs
    *said(("happy", "sad"), None, "unhappy", "un-happy", "sadly", "unhappy and sadness"),
    *said(("happy", "unhappy"), "unhappy", "unhappy", "The customer is unhappy.", "un-happy"),
    *said(("plan", "planung"), "planung", "Planung", "Es ist die Planung"),
    *said(("été", "thé"), None, "athé", "répété", "thés"),
    *said(("만족", "불만족"), "불만족", "불만족입니다"),
    *said(("C", "Java"), None, "C++", "C#", "I wrote it in C++", "Objective-C#"),
    *said(("C", "C++", "C#"), "C++", "C++", "It is written in C++.", "The language is C++, not C", "`C++`"),
    *said(("C", "C++", "C#"), "C", "C", "The answer is C.", "(C)"),
    *said(("A", "A-", "B+", "B"), "A-", "A-", "Grade: A-", "The grade is A-."),
    *said(("A", "A-", "B+", "B"), "A", "A", "Grade: A", "The grade is A."),
    *said(("A", "B"), None, "A+", "B-", "Grade: A-"),
    *said(("<5", "5-10", ">10"), ">10", ">10", "> 10", "The answer is >10."),
    *said(("<5", "5-10", ">10"), "5-10", "5-10", "5–10", "5 - 10"),
    *said(("<5", "5-10", ">10"), None, "10", "5", "<10"),
    *said(("0-5", "6-10", "10+"), "10+", "10+", "It is 10+."),
    *said(("-1", "0", "1"), "-1", "-1", "−1", "The label is -1.", "–1"),
    *said(("-1", "0", "1"), "1", "1", "The label is 1.", "1."),
    # numbers
    *said(RATING, None, "-1", "–1", "3.5", "1,200", "10", "1st", "4:5", "It is -1", "4%", "0.5", "3 or 4", "6/7"),
    *said(
        RATING,
        "4",
        "4",
        "4.",
        "4/5",
        "4 / 5",
        "4 out of 5",
        "Rating: 4/5",
        "4 von 5",
        "4 sur 5",
        "4 из 5",
        "4,",
        "**4**",
    ),
    *said(tuple("12345678910"), None, "3.5"),
    # of several words, and as data write them
    *said(
        ("credit card", "card"),
        "credit card",
        "credit card",
        "It is about the Credit-Card.",
        "credit_card",
        "credit\u00a0card",
    ),
    *said(("credit card", "card"), "card", "card", "the card"),
    *said(("N/A", "ok"), "N/A", "n/a", "N/A.", "The answer is N/A"),
    *said(("True", "False"), "True", "TRUE", "true.", "The statement is true"),
    *said(("True", "False"), None, "not true", "true or false", "untrue"),
    *said(("très bien", "bien"), "très bien", "tre\u0300s bien", "Très Bien!", "\u200btrès bien\ufeff"),
]


@pytest.mark.parametrize(("labels", "text", "found"), CASES)
def test_which_label_is_stated(labels: tuple[str, ...], text: str, found: str | None) -> None:
    assert extract("label", text, labels) == found
    assert extract("label", unicodedata.normalize("NFD", text), labels) == found


@pytest.mark.parametrize(
    "labels", [tuple({label: 0 for one, _, _ in CASES for label in one if one == two}) for two in {c[0] for c in CASES}]
)
def test_every_label_is_found_where_nothing_else_is_said(labels: tuple[str, ...]) -> None:
    for label in labels:
        for dress in ("{}", "**{}**", "{}.", '"{}"', " {}\n", "<answer>{}</answer>", "\\boxed{{{}}}"):
            assert extract("label", dress.format(label), labels) == label, dress
