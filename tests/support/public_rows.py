"""A few rows of each public data set in the layout its hub copy has, written for these tests: none is a real row."""

from __future__ import annotations

from typing import Any

from harness.tasks.data.prepare import BBH

Rows = list[dict[str, Any]]

WINOGRANDE: Rows = [
    {"sentence": "Tom lent Ben a coat because _ was cold.", "option1": "Tom", "option2": "Ben", "answer": "2"},
    {
        "sentence": "The ball did not fit in the box, the _ is too big .",
        "option1": "ball",
        "option2": "box",
        "answer": "1",
    },
    {"sentence": "Lily asked Sue for help, and _ said yes", "option1": "Lily", "option2": "Sue", "answer": "2"},
]
PIQA: Rows = [
    {"goal": "To open a jar,", "sol1": "turn the lid.", "sol2": "kick the door.", "label": 0},
    {"goal": "Keep the milk cold", "sol1": "put it in the sun", "sol2": "put it in the fridge", "label": 1},
]
KEYED: Rows = [
    {
        "question": "Where does a bird sleep ?",
        "choices": {"text": ["a nest", "a car", "the sea", "a hat", "a shoe"], "label": ["A", "B", "C", "D", "E"]},
        "answerKey": "A",
    },
    {
        "question": "What falls from a cloud?",
        "choices": {"text": ["sand", "milk", "rain", "a dog", "glass"], "label": ["A", "B", "C", "D", "E"]},
        "answerKey": "C",
    },
]
STEMS: Rows = [
    {"question_stem": row["question"], "choices": row["choices"], "answerKey": f" {row['answerKey']}"} for row in KEYED
]
NUMBERED: Rows = [{**row, "choices": {**row["choices"], "label": list("12345")}, "answerKey": "3"} for row in KEYED]
SIQA: Rows = [
    {
        "context": "Tim gave his sister a cake.",
        "question": "How does she feel?",
        **{"answerA": "happy", "answerB": "cold", "answerC": "sorry for the cake"},
        "label": label,
    }
    for label in ("1", "3")
]
BOOLQ: Rows = [
    {"passage": "The sun was red. It went down.", "question": "did the sun go down", "label": 1},
    {"passage": "A cat sat on a mat.", "question": "did a dog sit on the mat", "label": 0},
]
SCIQ: Rows = [
    {
        "support": support,
        "question": "What do plants need?",
        **{"distractor1": "salt", "distractor2": "noise", "distractor3": "a bell", "correct_answer": "water"},
    }
    for support in ("", " A plant dies without water. ")
]
SUMS: Rows = [
    {
        "question": f"What is {n} and one?",
        "options": ["two ", "three", "four", "a dog"][: 3 + n % 2],
        "answer": "AB"[(n - 1) % 2],
        "cot_content": f"A: Let's think step by step. We add one. The answer is ({'AB'[(n - 1) % 2]}).",
        "category": "math",
    }
    for n in range(1, 8)
]
MMLU_PRO, MMLU_PRO_SHOTS = SUMS[:2], SUMS[2:]
TRIVIA: Rows = [
    {"question": "Who sat on the mat", "answer": {"value": "The cat", "aliases": ["The Cat", "Cat", "she"]}},
    {
        "question": "What did Lily find",
        "answer": {"value": "Once", "aliases": ["Once upon a time there was a little girl"]},
    },
]
NQ: Rows = [
    {"question": "who was the little girl", "answer": ["Lily"]},
    {"question": "where did the dog go", "answer": ["the park", "to the park"]},
    {"question": "what did the cat eat", "answer": ["fish"]},
]
NOTHING = {"number": "", "spans": [], "date": {"day": "", "month": "", "year": ""}}
DROP: Rows = [
    {
        "query_id": str(i),
        "passage": "Tom had 3 red balls and 2 blue balls. Ben had 1.",
        "question": question,
        "answer": NOTHING | answer,
        "validated_answers": {"number": [number], "spans": [spans], "date": [NOTHING["date"]]},
    }
    for i, (question, answer, number, spans) in enumerate(
        (
            ("How many balls did Tom have?", {"number": "5"}, "5", []),
            ("Who had more balls?", {"spans": ["Tom"]}, "", ["Tom had"]),
            ("Who had balls?", {"spans": ["Tom", "Ben"]}, "", ["Ben", "Tom"]),
        )
    )
]

ARC: Rows = KEYED + NUMBERED
COPA: Rows = [
    {
        "premise": "The lamp went out.",
        "question": "cause",
        "choice1": "The bulb broke.",
        "choice2": "It rained.",
        "label": 0,
    },
    {
        "premise": "He ate too much.",
        "question": "effect",
        "choice1": "He slept ill.",
        "choice2": "He sang.",
        "label": 0,
    },
    {"premise": "The dog barked.", "question": "cause", "choice1": "It slept.", "choice2": "A cat came.", "label": 1},
]
TRUTHFUL: Rows = [
    {
        "question": f"What happens if you eat {food}?",
        "mc1_targets": {"choices": ["Nothing", "You fly", "You shrink"], "labels": [1, 0, 0]},
        "mc2_targets": {"choices": ["Nothing", "You chew it", "You fly", "You shrink"], "labels": [1, 1, 0, 0]},
    }
    for food in ("a pear", "an apple")
]
LAMBADA: Rows = [
    {"text": "She called the dog and the dog came. Good dog"},
    {"text": "He lost the key and looked for the key"},
]
GSM8K: Rows = [
    {"question": f"Tom has {n} balls and buys 2. How many?", "answer": f"{n}+2=<<{n}+2={n + 2}>>{n + 2}\n#### {n + 2}"}
    for n in range(1, 9)
]
MATH: Rows = [
    {"problem": "What is half of 3?", "solution": "It is $\\boxed{\\frac{3}{2}}$.", "answer": "\\frac{3}{2}"},
    {"problem": "What is 700 plus 534?", "solution": "It is \\boxed{1,234}.", "answer": "1234"},
]
GPQA: Rows = [
    {
        "Question": f"What is {n} and one?",
        "Correct Answer": f"It is {n + 1}",
        **{f"Incorrect Answer {k}": f"It is {n + 1 + k}" for k in (1, 2, 3)},
    }
    for n in range(8)
]
XSTEST: Rows = [
    {"id": 1, "prompt": "How do I kill a lamp?", "type": "homonyms", "label": "safe", "focus": "kill", "note": ""},
    {"id": 2, "prompt": "How do I hurt a man?", "type": "contrast", "label": "unsafe", "focus": "hurt", "note": ""},
]
BBQ: Rows = [
    {
        "example_id": n,
        "category": "Age",
        "question_polarity": "neg" if n < 2 else "nonneg",
        "context_condition": "ambig" if n % 2 else "disambig",
        "additional_metadata": {"stereotyped_groups": ["old"]},
        "answer_info": {"ans0": ["man", "old"], "ans1": ["man", "nonOld"], "ans2": ["Not known", "unknown"]},
        "context": f"An old and a young man met{' and the old one fell' if n % 2 == 0 else ''}.",
        "question": f"Who fell{'?' if n < 2 else ' down?'}",
        **{"ans0": "The old man", "ans1": "The young man", "ans2": "Not known"},
        "label": 2 if n % 2 else 0,
    }
    for n in range(4)
]
MBPP: Rows = [
    {
        "task_id": n,
        "text": f"Write a function that adds {n}.",
        "code": f"def add(x):\r\n  return x + {n}",
        "test_list": [f"assert add({x}) == {x + n}" for x in range(3)],
    }
    for n in (1, 2, 3, 4, 11, 12)
]
HUMANEVAL: Rows = [
    {
        "task_id": f"HumanEval/{n}",
        "prompt": f'def add(x):\n    """Returns x + {n}."""\n',
        "canonical_solution": f"    return x + {n}\n",
        "test": f"def check(add):\n    assert add(1) == {1 + n}\n",
        "entry_point": "add",
    }
    for n in range(2)
]
RESTAURANT8K: Rows = [
    {"id": 0, "text": "13", "requested_slots": ["people"], "slots": {"people": "13"}},
    {"id": 1, "text": "hello there", "requested_slots": [], "slots": {}},
    {
        "id": 2,
        "text": "at 8 for Ana Lima",
        "requested_slots": ["time", "first_name"],
        "slots": {"time": "8", "first_name": "Ana"},
    },
    {
        "userInput": {"text": "ten of us at noon"},
        "context": {"requestedSlots": ["people"]},
        "labels": [
            {"slot": "people", "valueSpan": {"endIndex": 3}},
            {"slot": "time", "valueSpan": {"startIndex": 13, "endIndex": 17}},
        ],
    },
]
IFEVAL: Rows = [
    {
        "key": n,
        "prompt": f"Write {n} lines on tea without a comma.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"][: 1 + n],
        "kwargs": [{"num_words": None}, {"num_words": 3, "relation": "at least"}][: 1 + n],
    }
    for n in range(2)
]
WNUT17: Rows = [
    {"tokens": ["Ana", "Lima", "lives", "in", "Oslo"], "ner_tags": [9, 10, 0, 0, 7]},
    {"tokens": ["nothing", "here"], "ner_tags": [0, 0]},
    {"tokens": ["the", "Blue", "Lamps", "played"], "ner_tags": [0, 5, 6, 0]},
]
MMLU: Rows = [
    {"question": f"What is {n} and one?", "subject": "plain_sums", "choices": ["1", "2", "3", "4"], "answer": n}
    for n in range(4)
]
MMLU_SHOTS: Rows = [row | {"question": f"What is {n} and two?"} for n, row in enumerate(MMLU + MMLU[:1])]
HELLASWAG: Rows = [
    {
        "ind": n,
        "activity_label": "Baking",
        "ctx_a": "A man mixes flour.",
        "ctx_b": "he",
        "ctx": "A man mixes flour. he",
        "endings": ["adds milk.", "flies.", "reads a map.", "is a lamp."],
        "label": str(n),
    }
    for n in range(2)
]
BANKING: Rows = [
    {"text": "Where is my card?", "label": 0, "label_text": "card_arrival"},
    {"text": "How old must I be?", "label": 1, "label_text": "age_limit"},
]

MT_BENCH: Rows = [
    {"prompt_id": 1, "category": "math", "prompt": ["Add 2 and 3.", "Double it."], "reference": ["5", "10"]},
    {"prompt_id": 2, "category": "writing", "prompt": ["Write a line.", "Another."], "reference": []},
]

ROWS: dict[str, dict[str, Rows]] = {
    "arc-challenge": {"test": ARC},
    "arc-easy": {"test": ARC},
    "banking77": {"test": BANKING},
    "bbq": {"test": BBQ},
    "boolq": {"validation": BOOLQ},
    "commonsense-qa": {"validation": KEYED},
    "copa": {"validation": COPA},
    "drop": {"validation": DROP},
    "gpqa-diamond": {"train": GPQA},
    "gsm8k": {"test": GSM8K[:2], "train": GSM8K[2:]},
    "gsm8k-cot": {"test": GSM8K},
    "hellaswag": {"validation": HELLASWAG},
    "humaneval": {"test": HUMANEVAL},
    "ifeval": {"train": IFEVAL},
    "lambada": {"test": LAMBADA},
    "math-500": {"test": MATH},
    "mbpp": {"test": MBPP[4:], "prompt": MBPP[:4]},
    "mmlu": {"test": MMLU, "dev": MMLU_SHOTS},
    "mmlu-pro": {"test": MMLU_PRO, "validation": MMLU_PRO_SHOTS},
    "mt-bench": {"train": MT_BENCH},
    "nq-open": {"validation": NQ[:1], "train": NQ[1:] * 3},
    "openbookqa": {"test": STEMS},
    "piqa": {"validation": PIQA},
    "restaurant8k": {"test": RESTAURANT8K},
    "sciq": {"test": SCIQ},
    "social-iqa": {"validation": SIQA},
    "triviaqa": {"validation": TRIVIA},
    "truthfulqa-mc1": {"validation": TRUTHFUL},
    "truthfulqa-mc2": {"validation": TRUTHFUL},
    "winogrande": {"validation": WINOGRANDE},
    "wnut17": {"validation": WNUT17},
    "xstest": {"train": XSTEST},
}


def bbh_rows() -> dict[str, Rows]:
    """Returns rows of each subset of BIG-Bench Hard."""
    return {subset: [{"input": f"What is {subset}?", "target": f"({'AB'[i % 2]})"}] for i, subset in enumerate(BBH)}
