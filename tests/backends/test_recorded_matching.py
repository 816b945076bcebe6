"""Which recorded answer belongs to which sample: by id, else by what was asked; never by guessing."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.backends import load
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig
from harness.errors import BackendError, ConfigError, DataError
from harness.values import GenerateRequest, Message, Prompt
from tests.support.rows import said

TEXTS = [
    "My card was charged twice last week, so please help me.",
    "Where is my parcel?",
    "Where is my parcel? It was due on Monday.",
    "Ihre Rechnung\nist falsch: 3,50 € zu viel",
    "荷物が届きません。住所を変更したいです。",
    "荷物が届きません。",
    "Cancel",
    "Je n'ai pas reçu mon colis « express »",
]
IDS = [f"T{i}" for i in range(len(TEXTS))]


def result(place: int, text: str, said: str, model: str = "base", **more: Any) -> dict[str, Any]:
    """Returns one result as promptfoo writes it."""
    return {
        **{"testIdx": place, "promptIdx": 0, "latencyMs": 5, "success": True, "score": 1},
        "provider": {"id": f"file://{model}.py", "label": model},
        "prompt": {"raw": f"Which team? {text}", "label": "Which team? {{ticket}}"},
        "response": {"output": said},
        "vars": {"ticket": text, "channel": "mail"} | more.pop("vars", {}),
        **more,
    }


def promptfoo(folder: Path, results: list[dict[str, Any]]) -> str:
    path = folder / "results.json"
    path.write_text(json.dumps({"results": {"version": 3, "results": results}, "metadata": {}}), "utf-8")
    return str(path)


def asked(form: str, texts: list[str], ids: list[str]) -> list[GenerateRequest]:
    return [GenerateRequest(f"k{id}", id, Prompt(form.replace("{}", text))) for id, text in zip(ids, texts)]


def answers(script: Any, requests: list[GenerateRequest]) -> list[str | None]:
    return [r.text for r in load(model_of(name="old", backend="recorded", script=script)).answer(requests)]


SHUFFLED = random.Random(3).sample(range(len(TEXTS)), len(TEXTS))
FORMS = {
    "alone": "{}",
    "a line of its own": "Ticket: {}\nTeam:",
    "in quotes": 'Which team takes "{}"?',
    "after examples": "Ticket: Where is my parcel?\nTeam: x\n\nTicket: Cancel\nTeam: y\n\nTicket: {}\nTeam:",
    "between tags": "<ticket>{}</ticket> is for",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ids", [IDS, [str(i) for i in range(len(TEXTS))]], ids=["ids", "positions"])
def test_answers_known_by_place_find_their_samples_by_what_was_asked(tmp_path: Path, form: str, ids: list[str]):
    script = promptfoo(tmp_path, [result(at, TEXTS[i], f"answer {i}") for at, i in enumerate(SHUFFLED)])
    assert answers(script, asked(FORMS[form], TEXTS, ids)) == [f"answer {i}" for i in range(len(TEXTS))]


def test_the_last_message_of_the_user_is_what_was_asked(tmp_path: Path):
    script = promptfoo(tmp_path, [result(at, TEXTS[i], f"answer {i}") for at, i in enumerate(SHUFFLED)])
    before = (Message("system", TEXTS[0]), Message("user", TEXTS[1]), Message("assistant", "x"))
    requests = [
        GenerateRequest(f"k{id}", id, Prompt(messages=(*before, Message("user", text), Message("assistant", "It is"))))
        for id, text in zip(IDS, TEXTS)
    ]
    assert answers(script, requests) == [f"answer {i}" for i in range(len(TEXTS))]


def test_white_space_and_composed_characters_make_no_other_text(tmp_path: Path):
    script = promptfoo(tmp_path, [result(0, "Café  fermé\r\nà midi", "a"), result(1, "Un autre café", "b")])
    requests = asked("Q: {}\nA:", ["Cafe\u0301 ferme\u0301\nà midi", "Un autre cafe\u0301"], ["x", "y"])
    assert answers(script, requests) == ["a", "b"]


def test_a_sample_that_was_not_asked_then_has_no_answer_now(tmp_path: Path):
    kept = [i for i in range(len(TEXTS)) if i not in (2, 4)]  # what they begin with was asked, and is no answer to them
    script = promptfoo(tmp_path, [result(at, TEXTS[i], f"answer {i}") for at, i in enumerate(kept)])
    long = TEXTS[0]  # within a sentence, as long as it is
    assert answers(script, asked("Is it about {} now?", [long, TEXTS[1]], ["a", "b"])) == ["answer 0", None]
    for ids in (IDS, [str(i) for i in range(len(TEXTS))]):
        found = answers(script, asked("Ticket: {}\nTeam:", TEXTS, ids))
        assert found == [f"answer {i}" if i in kept else None for i in range(len(TEXTS))]


def test_the_same_question_twice_is_told_apart_by_its_place_or_id_and_else_not_at_all(tmp_path: Path):
    texts = ["Where is my parcel?", "Cancel it.", "Where is my parcel?"]
    results = [result(i, text, f"answer {i}") for i, text in enumerate(texts)]
    script = promptfoo(tmp_path, results)
    assert answers(script, asked("T: {}\n", texts, ["0", "1", "2"])) == ["answer 0", "answer 1", "answer 2"]
    assert answers(script, asked("T: {}\n", texts, ["a", "b", "c"])) == [None, "answer 1", None]
    alike = [one | {"response": {"output": "same"}} for one in results]
    assert answers(promptfoo(tmp_path, alike), asked("T: {}\n", texts, ["a", "b", "c"])) == ["same"] * 3
    named = [one | {"vars": {**one["vars"], "ref": id}} for one, id in zip(results, "abc")]
    script = promptfoo(tmp_path, named)
    by_ref = answers({"file": script, "id": "ref"}, asked("T: {}\n", texts, ["a", "b", "c"]))
    assert by_ref == ["answer 0", "answer 1", "answer 2"]


def test_ids_among_the_variables_are_found_where_the_prompt_says_nothing(tmp_path: Path):
    results = [result(at, TEXTS[i], f"answer {i}", vars={"ref": IDS[i]}) for at, i in enumerate(SHUFFLED)]
    script = promptfoo(tmp_path, results)
    assert answers(script, asked("{}", ["?"] * len(IDS), IDS)) == [f"answer {i}" for i in range(len(IDS))]


def test_a_label_in_every_prompt_is_no_question(tmp_path: Path):
    rows = [{"id": str(i), "text": "billing", "team": ["billing", "sales"][i % 2]} for i in range(6) if i != 3]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    requests = asked("One of\nbilling\nsales\n{}\nTeam:", list("abcdef"), list("012345"))
    assert answers(str(path), requests) == ["billing"] * 3 + [None] + ["billing"] * 2


def test_what_fits_nothing_is_told_with_examples_of_both(tmp_path: Path):
    script = promptfoo(tmp_path, [result(i, f"Other question number {i}?", "x") for i in range(5)])
    with pytest.raises(BackendError) as caught:
        answers(script, asked("{}", TEXTS, IDS))
    what, where, fix = str(caught.value).splitlines()
    assert "none of 8 samples has an answer in the file" in what and "id: COLUMN" in fix
    assert "samples: 'T0', 'T1', 'T2'; answers: '0', '1', '2'" in where


def test_several_prompts_of_one_model_are_not_mixed(tmp_path: Path):
    labels = ["short", "long"]
    results = [
        result(i, text, f"{label} {i}") | {"prompt": {"raw": "", "label": label}}
        for label in labels
        for i, text in enumerate(TEXTS)
    ]
    script = promptfoo(tmp_path, results)
    with pytest.raises(DataError, match=r"answers of 2 prompts: 'long', 'short'(.|\n)*prompt: \"long\""):
        answers(script, asked("{}", TEXTS, IDS))
    assert answers({"file": script, "prompt": "long"}, asked("{}", TEXTS, IDS))[1] == "long 1"


def test_promptfoo_as_lines_is_read_like_its_json(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(result(i, text, f"answer {i}")) + "\n" for i, text in enumerate(TEXTS)))
    assert answers(str(path), asked("{}", TEXTS, IDS))[0] == "answer 0"


def test_two_models_of_one_file_are_two_entries_and_the_note_says_how_they_were_found(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text(
        "".join(json.dumps({"ref": id, "q": text, "a": "yes"}) + "\n" for id, text in zip(IDS, TEXTS))
    )
    (tmp_path / "t.yaml").write_text(
        "task: t\ndata: {file: t.jsonl, id: ref}\nkind: generate\nprompt: '{q}'\nanswer: a\n"
    )
    results = [result(at, TEXTS[i], "yes" if i < 6 else "no") for at, i in enumerate(SHUFFLED)]
    results += [result(at, TEXTS[i], "yes" if i < 2 else "no", "tuned") for at, i in enumerate(SHUFFLED)]
    script = promptfoo(tmp_path, results)
    models = [
        {"name": f"m-{name}", "backend": "recorded", "script": script, "model": name} for name in ("base", "tuned")
    ]
    given = {"run": "r", "tasks": [str(tmp_path / "t.yaml")], "models": models, "latency": {"requests": 0}}
    run = harness.run(validate(RunConfig, given, "test"), out=tmp_path / "out")
    assert [row.accuracy.value for row in run.summary.rows] == [0.75, 0.25]
    place = SHUFFLED.index(0)
    noted = (
        f"m-base: 8 of 8 answers were found in the file by what was asked, not by their ids: sample T0 is {place} there"
    )
    assert any(note.startswith(noted) for note in said(run.summary))
    with pytest.raises(ConfigError, match="two models are named"):
        load(model_of(name="old", backend="recorded", script={"file": script, "model": "tuned"}, model="base"))
