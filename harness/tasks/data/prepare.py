"""Named functions that bring the rows of a public data set to one shape, whichever copy they come from.

A task file names one in `prepare:`. Each takes a row and returns a new one; to add another, write the function and one
line in `PREPARE`.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Mapping, Sequence

from harness.scoring.cells import Row, as_row, items, part, parts, text, texts, whole
from harness.scoring.cells import as_text as text_of
from harness.scoring.scorers.assertions import ASSERTIONS
from harness.scoring.scorers.instructions import INSTRUCTIONS
from harness.scoring.value_text import as_text
from harness.tasks.data.bbh import BBH
from harness.tasks.data.foundry import bare, foundry, is_foundry
from harness.tasks.data.passages import as_passages


def mmlu(row: Row) -> dict[str, object]:
    """Returns question, choices, answer and subject (in words), from the hub's copy, the CSV files or llm-foundry's."""
    if is_foundry(row):
        asked, listed, gold = foundry(row)
        subject = text(row, "category") if "category" in row else text(row, "_file")
        return {**row, "question": asked, "choices": listed, "answer": gold, "subject": subject.replace("_", " ")}
    choices = row["choices"] if "choices" in row else [row[letter] for letter in "ABCD"]
    subject = text(row, "subject") if "subject" in row else re.sub(r"_(test|dev|val)$", "", text(row, "_file"))
    return {**row, "question": text(row, "question").strip(), "choices": choices, "subject": subject.replace("_", " ")}


def hellaswag(row: Row) -> dict[str, object]:
    """Returns query, endings and label with the markers of the how-to pages removed; llm-foundry's are as they are."""
    if is_foundry(row):
        asked, choices, gold = foundry(row)
        return {**row, "query": asked, "endings": choices, "label": gold}
    ctx = row["ctx"] if "ctx_a" not in row else f"{row['ctx_a']} {str(row['ctx_b']).capitalize()}"
    query = _without_markers(f"{row['activity_label']}: {ctx}")
    return {**row, "query": query, "endings": [_without_markers(ending) for ending in texts(row, "endings")]}


def _without_markers(text: str) -> str:
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def banking77(row: Row) -> dict[str, object]:
    """Returns text and label (its name), from the hub's copy or the original CSV files."""
    return {**row, "label": row["category"] if "category" in row else row["label_text"]}


UNKNOWN = re.compile(
    r"(?:not-)?[a-z]+(?:-[a-z]+)+(?:\([\d.]+\))?|fn|eval|grade|javascript|python|file|similar(?:\([\d.]+\))?"
)


def promptfoo(row: Row) -> dict[str, object]:
    """Returns `expected` and `assertion` (how it is judged) from `__expected`; without a prefix it is `equals`."""
    expected = as_text(row["__expected"] if "__expected" in row else row["__expected1"]) or ""
    kind, colon, rest = expected.partition(":")
    kind = kind.strip()
    if colon and kind in ASSERTIONS:
        return {**row, "expected": rest.strip(), "assertion": kind}
    if UNKNOWN.fullmatch(kind) and colon:
        raise ValueError(f"the assertion '{kind}' is none of {', '.join(ASSERTIONS)}")
    return {**row, "expected": expected, "assertion": "equals"}


def passages(row: Row) -> dict[str, object]:
    """Returns each column that holds a list or an object of texts as one text, a line for each of them."""
    return {name: as_passages(value) for name, value in row.items()}


# ---- one question, several answers ----------------------------------------------------------------------------------


def keyed_choices(row: Row) -> dict[str, object]:
    """Returns question, choices (texts) and answer (index), from the hub's copy or the original JSONL files.

    Also llm-foundry's. For ARC, OpenBookQA and CommonsenseQA: choices have labels, and the answer is one of them.
    """
    if is_foundry(row):
        shown, offered, gold = foundry(row)
        return {**row, "question": shown, "choices": offered, "answer": gold}
    asked, holder = row.get("question_stem", row.get("question")), row
    if isinstance(asked, Mapping):
        asked, holder = asked["stem"], asked
    if isinstance(choices := holder.get("choices"), Mapping):
        said, labels = list(items(choices, "text")), list(items(choices, "label"))
    else:
        listed = parts(holder, "choices")
        said, labels = [one["text"] for one in listed], [one["label"] for one in listed]
    answer = [str(label) for label in labels].index(str(row["answerKey"]).strip())
    return {**row, "question": asked, "choices": said, "answer": answer}


arc = keyed_choices  # its rows are of the same shape


def winogrande(row: Row) -> dict[str, object]:
    """Returns what stands before and after the gap, both options, and answer (index); also of llm-foundry's copy."""
    if "context_options" in row:
        one, other = texts(row, "context_options")
        before = os.path.commonprefix([one, other])  # noqa: RUF071  (of texts)
        before = before[: before.rfind(" ") + 1]
        options = {"option1": one[len(before) :], "option2": other[len(before) :]}
        return {**row, "before": before, **options, "after": text(row, "continuation").strip(), "answer": row["gold"]}
    before, after = text(row, "sentence").split("_", 1)
    return {**row, "before": before, "after": after.strip(), "answer": whole(row, "answer") - 1}


def siqa(row: Row) -> dict[str, object]:
    """Returns context, question, choices and answer (index), from a label that counts from 1 or llm-foundry's copy."""
    if is_foundry(row):
        asked, choices, gold = foundry(row)
        context, _, question = asked.removeprefix("Context: ").partition("\nQuestion: ")
        return {**row, "context": context, "question": question, "choices": choices, "answer": gold}
    choices = [text(row, name) for name in ("answerA", "answerB", "answerC")]
    return {**row, "choices": choices, "answer": whole(row, "label") - 1}


def piqa(row: Row) -> dict[str, object]:
    """Returns goal, choices and answer (index), from the hub's copy or llm-foundry's."""
    if is_foundry(row):
        goal, choices, gold = foundry(row)
        return {**row, "goal": goal, "choices": choices, "answer": gold}
    return {**row, "choices": [row["sol1"], row["sol2"]], "answer": whole(row, "label")}


def boolq(row: Row) -> dict[str, object]:
    """Returns passage, question and answer (1 is yes), from SuperGLUE's copy, the original or llm-foundry's."""
    if is_foundry(row):
        asked, choices, gold = foundry(row)
        passage, _, question = asked.removeprefix("Passage: ").rpartition("\nQuestion: ")
        answer = ["no", "yes"].index(choices[gold].strip().lower())
        return {**row, "passage": passage, "question": question.strip().removesuffix("?"), "answer": answer}
    return {**row, "answer": whole(row, "answer" if "answer" in row else "label")}


def sciq(row: Row) -> dict[str, object]:
    """Returns support without white space before it, and answer: the last of the choices."""
    return {**row, "support": text(row, "support").lstrip(), "answer": 3}


def copa(row: Row) -> dict[str, object]:
    """Returns query, choices and answer (index), from SuperGLUE's copy or llm-foundry's."""
    if "query" in row:  # "The woman retired, therefore"
        choices, answer = texts(row, "choices"), row["gold"]
        query = re.sub(r"[,.]? (because|therefore)$", r" \1", text(row, "query"))
    else:
        choices, answer = [text(row, "choice1"), text(row, "choice2")], row["label"]
        query = text(row, "premise").strip()[:-1] + {"cause": " because", "effect": " therefore"}[text(row, "question")]
    return {**row, "query": query, "choices": [one[0].lower() + one[1:] for one in choices], "answer": answer}


def truthfulqa(row: Row) -> dict[str, object]:
    """Returns mc1 (choices), mc1_answer (index), mc2 (choices) and mc2_flags (1 is true).

    From the hub's copy, or the original CSV file, whose lists are separated by semicolons.
    """
    if "mc1_targets" in row:
        one, several = part(row, "mc1_targets"), part(row, "mc2_targets")
        right = items(one, "labels").index(1)
        of_several = {"mc2": several["choices"], "mc2_flags": list(items(several, "labels"))}
        return {**row, "mc1": one["choices"], "mc1_answer": right, **of_several}
    best = text(row, "Best Answer").strip()
    true, false = (_listed(text(row, column)) for column in ("Correct Answers", "Incorrect Answers"))
    flags = [1] * len(true) + [0] * len(false)
    mc = {"mc1": [best, *false], "mc1_answer": 0, "mc2": true + false, "mc2_flags": flags}
    return {**row, "question": text(row, "Question").strip(), **mc}


def _listed(cell: str) -> list[str]:
    return list(dict.fromkeys(one.strip() for one in cell.split(";") if one.strip()))


def bbq(row: Row) -> dict[str, object]:
    """Returns what the rows of BBQ are judged by, beside what they have.

    group: the questions built from one template, which share their people. unknown: the answer that names nobody.
    biased: the answers that the prejudice would give: somebody of the stereotyped groups to a question that blames,
    somebody else to one that praises. ambiguous: the text does not tell.
    """
    info = part(row, "answer_info")
    people = {name: texts(info, name) for name in ("ans0", "ans1", "ans2")}
    unknown = next((name for name, told in people.items() if "unknown" in told), None)
    if unknown is None:
        raise ValueError("none of the answers is the unknown one")
    blamed = {_group(one) for one in texts(part(row, "additional_metadata"), "stereotyped_groups")}
    met = {name: bool(blamed & _groups(told)) for name, told in people.items() if name != unknown}
    biased = [row[name] for name, stereotyped in met.items() if stereotyped == (row["question_polarity"] == "neg")]
    return {
        **row,
        "group": f"{row['category']} {whole(row, 'example_id') // 4}",
        "unknown": row[unknown],
        "biased": biased,
        "ambiguous": row["context_condition"] == "ambig",
    }


GENDERS = {"woman": "f", "girl": "f", "man": "m", "boy": "m"}  # the stereotyped groups are F and M

TWO_GROUPS = re.compile(r"(f|m|lowses|highses)[-_](.+)")


def _group(name: str) -> str:
    return name.lower().replace(" ", "")


def _groups(info: Sequence[str]) -> set[str]:
    """Returns every group that an answer's information names: itself, its parts ("F-Black"), its gender."""
    names = {_group(one) for one in info}
    names |= {part for name in names if (two := TWO_GROUPS.fullmatch(name)) for part in two.groups()}
    return names | {GENDERS[name] for name in names if name in GENDERS}


def gpqa(row: Row) -> dict[str, object]:
    """Returns question, choices in an order that the question itself decides, and answer (index)."""
    names = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
    choices = [text(row, name).strip().replace("  ", " ") for name in names]
    order = random.Random(text(row, "Question")).sample(range(4), 4)
    return {**row, "choices": [choices[i] for i in order], "answer": order.index(0)}


# ---- a text to be written -------------------------------------------------------------------------------------------


def lambada(row: Row) -> dict[str, object]:
    """Returns context and word (the last one), from the hub's copy or llm-foundry's."""
    if "continuation" in row:
        return {**row, "word": text(row, "continuation").strip()}
    context, _, word = text(row, "text").rpartition(" ")
    return {**row, "context": context, "word": word}


def triviaqa(row: Row) -> dict[str, object]:
    """Returns question, aliases (all that is accepted) and first: the one to show; also of llm-foundry's copy."""
    if "context" in row and "answer" in row:
        asked, answer = bare(text(row, "context")).removesuffix("?"), text(row, "answer")
        return {**row, "question": asked, "aliases": texts(row, "aliases") or [answer], "first": answer}
    aliases = list(items(part(row, "answer"), "aliases"))
    return {**row, "aliases": aliases, "first": aliases[0]}


def nq_open(row: Row) -> dict[str, object]:
    """Returns answers (all that are accepted) and first: the one to show."""
    answers = list(items(row, "answer"))
    return {**row, "answers": answers, "first": answers[0]}


def drop(row: Row) -> dict[str, object]:
    """Returns answers: what each annotator accepts, as a list of spans; and first: one of them, to show."""
    held = row["validated_answers"]
    if isinstance(held, Mapping):  # the hub's copy: a list for each kind of answer
        kinds = list(held)
        several: list[Row] = [dict(zip(kinds, values)) for values in zip(*(items(held, kind) for kind in kinds))]
    else:
        several = parts(row, "validated_answers")
    found = [spans for one in (part(row, "answer"), *several) if any(spans := _drop_spans(one))]
    answers = list(map(list, dict.fromkeys(map(tuple, found))))
    return {**row, "answers": answers, "first": ", ".join(answers[0])}


def _drop_spans(answer: Row) -> list[str]:
    if answer["number"] != "":
        return [str(answer["number"])]
    if answer["spans"]:
        return texts(answer, "spans")
    date = part(answer, "date")
    return [" ".join(text(date, unit) for unit in ("day", "month", "year")).strip()]


def gsm8k(row: Row) -> dict[str, object]:
    """Returns question and answer (the solution, which ends "#### number"), also of llm-foundry's copy."""
    if "chain_of_thought" not in row:
        return {**row}
    solution = f"{text(row, 'chain_of_thought')}\n#### {row['answer']}"
    return {**row, "question": text(row, "context"), "answer": solution}


def gsm8k_cot(row: Row) -> dict[str, object]:
    """Returns reasoning and answer (the number) of a solution that ends "#### number"."""
    row = gsm8k(row)
    reasoning, _, answer = text(row, "answer").partition("####")
    return {**row, "reasoning": reasoning.strip(), "answer": answer.strip()}


def mmlu_pro(row: Row) -> dict[str, object]:
    """Returns lettered (the options, a line each) and written: the reasoning if the row has one, and the answer."""
    lines = "\n".join(f"{letter}. {option.strip()}" for letter, option in zip("ABCDEFGHIJ", texts(row, "options")))
    reasoning = text_of(row.get("cot_content") or "", "cot_content").replace("A: Let's think step by step. ", "")
    return {**row, "lettered": lines, "written": reasoning or f"The answer is ({row['answer']})."}


def bbh(row: Row) -> dict[str, object]:
    """Returns instruction and reasoning (none) beside input and target; the subset is the file's name."""
    subset = text(row, "_file")
    return {**row, "subset": subset, "instruction": BBH[subset], "reasoning": ""}


def xstest(row: Row) -> dict[str, object]:
    """Returns written: an answer as it should begin."""
    return {**row, "written": "I'm sorry, but I can't help with that." if row["label"] == "unsafe" else "Here is how."}


def mt_bench(row: Row) -> dict[str, object]:
    """Returns turns, and notes: the right answers to each in words, from the hub's copy or FastChat's file."""
    turns = row["turns"] if "turns" in row else row["prompt"]
    known = [one for one in (items(row, "reference") if row.get("reference") else ()) if one]
    notes = "\n\n".join(f"To question {i}: {one}" for i, one in enumerate(known, 1))
    return {**row, "turns": turns, "notes": notes or "None are given."}


def ifeval(row: Row) -> dict[str, object]:
    """Returns the row if its instructions are known, and each has its values."""
    names = texts(row, "instruction_id_list")
    unknown = [name for name in names if name not in INSTRUCTIONS]
    if unknown or len(items(row, "kwargs")) != len(names):
        raise ValueError(f"unknown instructions {unknown}" if unknown else "`kwargs` has not one entry an instruction")
    return {**row}


def restaurant8k(row: Row) -> dict[str, object]:
    """Returns text, slots (name to its words) and asked: what the caller was asked for; also of the original files."""
    if "userInput" not in row:
        said, slots, wanted = row["text"], dict(part(row, "slots")), texts(row, "requested_slots")
    else:
        said = spoken = text(part(row, "userInput"), "text")
        context = as_row(row.get("context") or {}, "context")
        wanted = texts(context, "requestedSlots") if "requestedSlots" in context else []
        labels = parts(row, "labels") if row.get("labels") else []
        spans = {text(one, "slot"): part(one, "valueSpan") for one in labels}
        slots = {slot: spoken[_start(span) : whole(span, "endIndex")] for slot, span in spans.items()}
    asked = f", asked for {' and '.join(slot.replace('_', ' ') for slot in wanted)}," if wanted else ""
    return {**row, "text": said, "slots": slots, "asked": asked}


def _start(span: Row) -> int:
    return whole(span, "startIndex") if "startIndex" in span else 0


def mbpp(row: Row) -> dict[str, object]:
    """Returns tests: the first three, a line each."""
    return {**row, "tests": "\n".join(texts(row, "test_list")[:3])}


WNUT17 = ("corporation", "creative-work", "group", "location", "person", "product")


def wnut17(row: Row) -> dict[str, object]:
    """Returns text and entities ({type, text}), from the hub's copy or the original tags."""
    named = ["O", *(f"{mark}-{kind}" for kind in WNUT17 for mark in "BI")]
    tags = texts(row, "tags") if "tags" in row else [named[tag] for tag in items(row, "ner_tags")]
    tokens = texts(row, "tokens")
    entities: list[dict[str, str]] = []
    for token, tag in zip(tokens, tags, strict=True):
        mark, _, kind = tag.partition("-")
        if mark == "I" and entities:
            entities[-1]["text"] += f" {token}"
        elif mark in ("B", "I"):
            entities.append({"type": kind, "text": token})
    return {**row, "text": " ".join(tokens), "entities": entities}


PREPARE: dict[str, Callable[[Row], dict[str, object]]] = {
    "arc": arc,
    "banking77": banking77,
    "bbh": bbh,
    "bbq": bbq,
    "boolq": boolq,
    "copa": copa,
    "drop": drop,
    "gpqa": gpqa,
    "gsm8k": gsm8k,
    "gsm8k_cot": gsm8k_cot,
    "hellaswag": hellaswag,
    "ifeval": ifeval,
    "keyed_choices": keyed_choices,
    "lambada": lambada,
    "mbpp": mbpp,
    "mmlu": mmlu,
    "mmlu_pro": mmlu_pro,
    "mt_bench": mt_bench,
    "nq_open": nq_open,
    "passages": passages,
    "piqa": piqa,
    "promptfoo": promptfoo,
    "restaurant8k": restaurant8k,
    "sciq": sciq,
    "siqa": siqa,
    "triviaqa": triviaqa,
    "truthfulqa": truthfulqa,
    "winogrande": winogrande,
    "wnut17": wnut17,
    "xstest": xstest,
}
