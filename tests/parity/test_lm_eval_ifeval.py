"""IFEval's verdicts are lm-eval's own, on made-up answers to every kind of instruction.

The peer counts sentences with a trained model of NLTK that has to be fetched; here it gets the untrained one, and
texts without abbreviations. Its tokenizer of words is the real one.
"""

from __future__ import annotations

import importlib
import logging
import random
from typing import Any

import pytest

from harness.scoring.scorers.instructions import INSTRUCTIONS, instructions

PIECES = (
    "So! it is",
    "one\n***\ntwo\n***\nthree",
    *(
        "The dog ran home, and it was glad.",
        "IT IS GOOD",
        "it's a fine day in the sun",
        "CAN'T STOP-NOW (NASA)",
        "I'M 3,000 M HIGH: OK",
    ),
    *("Das ist ein schöner Tag im grünen Wald und wir gehen nach Hause.", "my answer is no.", "My answer is maybe."),
    *(
        "* a point\n",
        "- another point\n",
        "  * deeper *bold* text\n",
        "**bold** *slanted* words",
        "***",
        "\n***\n",
        "******",
    ),
    *("[name]", "[place of birth] [date]", "P.S. write soon", "p. p. s again", "<<A title>>", "<< >>", '"quoted"', '"'),
    *(
        "\n",
        "\n\n",
        "\n\nSo, it was. ",
        "Section 1\n",
        "SECTION 2: tea",
        "```json\n",
        '{"a": [1, 2]}',
        "\n```",
        "tea tea tea",
    ),
    *("Say hi to me.", "The end.", "Any other questions?", "cannot", "e", "#", "zebra quiz", " ", "Who? Me! Yes."),
)
KINDS: list[tuple[str, dict[str, Any]]] = [
    *(("keywords:existence", {"keywords": words}) for words in (["dog"], ["tea", "zebra"])),
    *(
        ("keywords:frequency", {"keyword": "tea", "frequency": n, "relation": r})
        for n, r in ((3, "at least"), (1, "less than"))
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["it", "day", "day"]}),
    *(
        ("keywords:letter_frequency", {"letter": "E", "let_frequency": n, "let_relation": r})
        for n, r in ((4, "at least"), (2, "less than"))
    ),
    *(("language:response_language", {"language": code}) for code in ("de", "en")),
    *(
        ("length_constraints:number_sentences", {"num_sentences": n, "relation": r})
        for n, r in ((3, "at least"), (2, "less than"))
    ),
    *(("length_constraints:number_paragraphs", {"num_paragraphs": n}) for n in (1, 2, 3)),
    *(
        ("length_constraints:number_words", {"num_words": n, "relation": r})
        for n, r in ((12, "at least"), (9, "less than"))
    ),
    *(
        ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": n, "nth_paragraph": n, "first_word": "So"})
        for n in (1, 2)
    ),
    *(("detectable_content:number_placeholders", {"num_placeholders": n}) for n in (1, 3)),
    *(("detectable_content:postscript", {"postscript_marker": mark}) for mark in ("P.S.", "P.P.S")),
    *(("detectable_format:number_bullet_lists", {"num_bullets": n}) for n in (1, 2)),
    ("detectable_format:constrained_response", {}),
    *(("detectable_format:number_highlighted_sections", {"num_highlights": n}) for n in (1, 2)),
    *(
        ("detectable_format:multiple_sections", {"section_spliter": word, "num_sections": 1})
        for word in ("Section", "SECTION")
    ),
    *((kind, {}) for kind in ("detectable_format:json_format", "detectable_format:title", "combination:two_responses")),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi to me."}),
    *(("startend:end_checker", {"end_phrase": phrase}) for phrase in ("The end.", " any other questions?")),
    ("startend:quotation", {}),
    *(
        ("change_case:capital_word_frequency", {"capital_frequency": n, "capital_relation": r})
        for n, r in ((4, "at least"), (2, "less than"))
    ),
    *((kind, {}) for kind in ("change_case:english_capital", "change_case:english_lowercase", "punctuation:no_comma")),
]
TEXTS = 600


@pytest.fixture(scope="module")
def peer():
    """lm-eval's module of scores; its import would fetch a model of sentences."""
    nltk = pytest.importorskip("nltk", reason="the peer is in the test extra")
    langdetect = pytest.importorskip("langdetect")
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    logging.getLogger("lm_eval").setLevel(logging.CRITICAL)  # it tells of each text without a language
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nltk, "download", lambda *_, **__: True)
        util = importlib.import_module("lm_eval.tasks.ifeval.instructions_util")
        patch.setattr(util, "_get_sentence_tokenizer", PunktSentenceTokenizer)
        patch.setattr(nltk, "word_tokenize", NLTKWordTokenizer().tokenize)
        patch.setattr(langdetect.DetectorFactory, "seed", 0)  # it draws anew each time
        yield importlib.import_module("lm_eval.tasks.ifeval.utils")


def texts(kind: str = "") -> list[str]:
    """Returns texts for a kind of instruction: few where a language is guessed, plain ones to count sentences in."""
    draw = random.Random(0)
    plain = kind == "length_constraints:number_sentences"
    pieces = [piece for piece in PIECES if not (plain and (piece == '"' or ". " in piece))]
    joints = (" ", "\n", "\n\n") if plain else ("", " ")
    made = [draw.choice(joints).join(draw.choices(pieces, k=draw.randint(1, 7))) for _ in range(TEXTS)]
    slow = kind.startswith(("language", "change_case:english"))
    return [*made[:: 30 if slow else 1], *pieces, "", " \n"]


@pytest.mark.slow
def test_verdicts_are_the_peers_for_every_kind(peer: Any):
    assert {kind for kind, _ in KINDS} == set(INSTRUCTIONS)
    differing = []
    for kind, values in KINDS:
        verdicts = set()
        for text in texts(kind):
            doc = {"key": 0, "prompt": "p", "instruction_id_list": [kind], "kwargs": [values]}
            theirs = peer.process_results(doc, [text])
            value, metrics = instructions([kind], text, row=doc)
            ours = (value, metrics["followed"], metrics["loose"], metrics["followed_loose"])
            expected = (
                theirs["prompt_level_strict_acc"],
                sum(theirs["inst_level_strict_acc"]),
                theirs["prompt_level_loose_acc"],
                sum(theirs["inst_level_loose_acc"]),
            )
            verdicts.add(value)
            if ours != expected:
                differing.append((kind, text, ours, expected))
        assert verdicts == {0.0, 1.0}, kind  # the texts tell something
    assert differing == []


@pytest.mark.slow
def test_several_instructions_and_their_shares_are_the_peers(peer: Any):
    draw, ours, theirs, total = random.Random(1), [], [], 0
    kinds = [one for one in KINDS if not one[0].startswith(("length_constraints:number_sentences", "language"))]
    for text in texts()[::2]:
        chosen = draw.sample(kinds, 3)
        doc = {
            "key": 0,
            "prompt": "p",
            "instruction_id_list": [kind for kind, _ in chosen],
            "kwargs": [v for _, v in chosen],
        }
        ours.append(instructions(doc["instruction_id_list"], text, row=doc))
        theirs.append(peer.process_results(doc, [text]))
        total += len(chosen)
    for name, ours_are in (
        ("prompt_level_strict_acc", [value for value, _ in ours]),
        ("prompt_level_loose_acc", [metrics["loose"] for _, metrics in ours]),
    ):
        assert ours_are == [float(one[name]) for one in theirs]
    for name, count in (("inst_level_strict_acc", "followed"), ("inst_level_loose_acc", "followed_loose")):
        share = sum(metrics[count] for _, metrics in ours) / total
        assert share == pytest.approx(peer.agg_inst_level_acc([one[name] for one in theirs]), abs=1e-12)
