"""Files as people have them, of many languages and tools, become tasks without an edit, or say the way out."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import harness
from harness.cli.app import app
from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import ConfigError, DataError, TaskError
from harness.tasks import authoring
from harness.tasks.data.passages import as_passages
from harness.tasks.load import load_task
from harness.tasks.self_test import self_test
from harness.tasks.task import Task
from tests.support.rows import said

Row = dict[str, Any]
DROP = authoring.Wishes(drop_unanswered=True)


def cells(rows: Iterable[Iterable[Any]], delimiter: str, ends: str = "\n") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=ends).writerows(rows)
    return text.getvalue()


def german(path: Path) -> Path:
    """Writes what Excel exports in Germany."""
    spellings = {
        "Rechnung": ("Rechnung", "rechnung", "RECHNUNG "),
        "Versand": ("Versand", "versand ", "Versand"),
        "Technik": ("Technik", "technik", "TECHNIK"),
    }
    rows = [["Vorgang", "Anfrage", "Abteilung ", "Kommentar"]]
    for i in range(48):
        label = list(spellings.values())[i % 3][i // 3 % 3]
        label = "" if i in (7, 30) else "n/a" if i == 20 else label
        note = "bitte prüfen; eilt" if i % 6 == 0 else "erledigt" if i == 13 else ""
        rows.append([str(4000 + i), f"Guten Tag,\r\nAnfrage {i}: „Gerät“; bitte {i}-mal prüfen.\r\nGrüße", label, note])
    path.write_bytes(b"\xef\xbb\xbf" + cells(rows, ";", "\r\n").encode())
    return path


def written(path: Path, **given: Any) -> tuple[authoring.Found, Task]:
    found = authoring.look(path, **given)
    task = load_task(TaskUse(task=str(authoring.write(found).task)))
    assert self_test(task).passed
    return found, task


def lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def answered(task: Task) -> list[str]:
    return [sample.choices[sample.gold or 0] for sample in task.samples]


def test_a_german_export_of_excel_is_a_task_of_three_labels(tmp_path: Path):
    found, task = written(german(tmp_path / "anfragen.csv"), wishes=DROP)
    roles = found.roles
    assert (roles.inputs, roles.answer, roles.id) == (("Anfrage",), "Abteilung", "Vorgang")
    assert task.config.choices == ("Rechnung", "Technik", "Versand")
    assert len(task.samples) == 45 and task.samples[0].id == "4000" and task.left_out == 3
    assert answered(task) == [("Rechnung", "Versand", "Technik")[i % 3] for i in range(48) if i not in (7, 20, 30)]
    text = found.text()
    assert "left out  2 rows with nothing in 'Abteilung': rows 8, 31" in text
    assert "left out  1 row with 'n/a' in 'Abteilung': row 21" in text
    assert "24 answers in another case or with other blanks: 'rechnung', 'RECHNUNG' as 'Rechnung'" in text
    assert "Choices: Rechnung, Technik, Versand\nAbteilung:" in task.config.prompt
    assert "empty in 39 rows" in text and "always bitte" not in text


def test_rows_without_an_answer_are_left_out_only_when_asked(tmp_path: Path):
    path = german(tmp_path / "anfragen.csv")
    with pytest.raises(DataError, match=r"2 of 48 rows have no answer: rows 8, 31(.|\n)*--drop-unanswered"):
        authoring.look(path)
    rows = [{"q": f"Question {i}?", "answer": "n/a" if i == 3 else "ab"[i % 2]} for i in range(40)]
    found = authoring.look(lines(tmp_path / "t.jsonl", rows))
    assert "1 row with 'n/a' in 'answer': row 4: no answer? --drop-unanswered leaves it out" in found.text()
    often = [{**row, "answer": "n/a" if i % 4 == 0 else row["answer"]} for i, row in enumerate(rows)]
    kept = authoring.look(lines(tmp_path / "u.jsonl", often), wishes=DROP)
    assert kept.without == () and "n/a" in kept.task["choices"]  # a quarter of the answers is a label


@pytest.mark.slow
def test_what_was_left_out_and_respelled_is_told_by_check_and_below_the_table(tmp_path: Path):
    _, task = written(german(tmp_path / "anfragen.csv"), wishes=DROP)
    shown = CliRunner().invoke(app, ["check", str(task.path)])
    assert "`without` leaves out 3 rows" in shown.output
    assert "24 right answers are written in another case or with other blanks than the choice" in shown.output
    config = {"run": "r", "tasks": [str(task.path)], "models": [{"name": "m", "backend": "scripted"}]}
    notes = said(harness.run(validate(RunConfig, config, "test"), out=tmp_path / "out").summary)
    assert any("anfragen: 3 rows were left out for what stands in 'Abteilung'" in note for note in notes)
    assert any("24 right answers were written in another case" in note for note in notes)


def test_labels_written_in_several_ways_are_several_on_request(tmp_path: Path):
    rows = [{"text": f"Film {i}.", "label": ["Pos", "pos", "neg"][i % 3]} for i in range(30)]
    path = lines(tmp_path / "t.jsonl", rows)
    assert written(path)[1].config.choices == ("Pos", "neg")
    (tmp_path / "t.yaml").unlink()
    found, task = written(path, wishes=authoring.Wishes(keep_spellings=True))
    assert task.config.choices == ("Pos", "neg", "pos")
    assert "differ in case or punctuation only: Pos, pos" in found.text()
    assert answered(task)[:3] == ["Pos", "pos", "neg"]


@pytest.mark.parametrize(
    ("answers", "choices", "expected"),
    [
        (["YES", "no "], "[yes, no]", ["yes", "no"]),
        (["card  lost", "Card\u00a0Lost"], "[card lost, other]", ["card lost"] * 2),
        (["Straße", "STRASSE"], "[Straße, Weg]", ["Straße"] * 2),
        (["b", "B"], "[a, b, B]", ["b", "B"]),
        (["us", "US"], "[US, us]", ["us", "US"]),
    ],
)
def test_an_answer_is_a_choice_in_another_case_where_only_one_is_meant(
    tmp_path: Path, answers: list[str], choices: str, expected: list[str]
):
    lines(tmp_path / "t.jsonl", [{"q": f"{i}?", "a": a} for i, a in enumerate(answers)])
    keys = f"task: t\ndata: {{file: t.jsonl}}\nkind: choice\nprompt: '{{q}}'\nanswer: a\nchoices: {choices}\n"
    (tmp_path / "t.yaml").write_text(keys)
    assert answered(load_task(TaskUse(task=str(tmp_path / "t.yaml")))) == expected


def test_an_answer_that_two_choices_could_be_is_refused(tmp_path: Path):
    lines(tmp_path / "t.jsonl", [{"q": "?", "a": "Us"}])
    keys = "task: t\ndata: {file: t.jsonl}\nkind: choice\nprompt: '{q}'\nanswer: a\nchoices: [US, us]\n"
    (tmp_path / "t.yaml").write_text(keys)
    with pytest.raises(TaskError, match="answer 'Us' is none of the choices"):
        load_task(TaskUse(task=str(tmp_path / "t.yaml")))


def pubmed(i: int) -> Row:
    return {
        "pubid": 21645000 + i,
        "question": f"Does treatment {i} help?",
        "contexts": [f"We studied {i} patients in two wards.", f"Of these, {i * 3} were found to be better."],
        "labels": ["BACKGROUND", "RESULTS"],
        "long_answer": f"Treatment {i} helps most of the patients that were studied here in the two wards.",
        "final_decision": ("yes", "no", "maybe")[i % 3],
        "split": "test" if i < 40 else "train",
    }


def nested(row: Row) -> Row:
    kept = {key: value for key, value in row.items() if key not in ("contexts", "labels")}
    return {**kept, "context": {"contexts": row["contexts"], "labels": row["labels"], "meshes": ["Humans", "Male"]}}


@pytest.mark.parametrize("form", [dict, nested], ids=["flat", "nested"])
def test_a_question_about_passages_shows_them_as_text(tmp_path: Path, form: Callable[[Row], Row]):
    found, task = written(lines(tmp_path / "qa.jsonl", [form(pubmed(i)) for i in range(60)]))
    assert found.roles.answer == "final_decision" and found.roles.id == "pubid"
    assert task.config.choices == ("maybe", "no", "yes") and len(task.samples) == 40
    name = found.roles.inputs[0]
    assert task.samples[2].row[name] == "We studied 2 patients in two wards.\nOf these, 6 were found to be better."
    assert task.config.prompt.index(f"{{{name}}}") < task.config.prompt.index("{question}")
    assert "left out  20 rows of split 'train': 'test' is asked about" in found.text()
    assert "always test" not in found.text()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["One text.", "Another one."], "One text.\nAnother one."),
        (["EU", "rejects", "call"], "EU rejects call"),
        ('["One text.", "Another one."]', "One text.\nAnother one."),
        ([{"title": "Bern", "text": "It is a city."}], "Bern\nIt is a city."),
        ({"title": ["Bern"], "sentences": [["It is a city.", "It is old."]]}, "It is a city.\nIt is old."),
        ("[sic] a plain text", "[sic] a plain text"),
        ([1, 2], [1, 2]),
        (7, 7),
        (None, None),
    ],
)
def test_lists_and_objects_of_texts_are_read_as_text(value: Any, text: Any):
    assert as_passages(value) == text


def intents(path: Path) -> Path:
    names = ["balance", "transfer", "card lost", "rate"]
    rows = [["text", "intent", "split"]]
    rows += [[f"utterance {i} on {names[i % 4]}", names[i % 4], "train"] for i in range(80)]
    rows += [[f"what about {names[i % 3]} {i}", names[i % 3], "test"] for i in range(30)]
    rows += [[f"tell me joke {i}", "oos", "oos_test"] for i in range(20)]
    path.write_text(cells(rows, ","), encoding="utf-8")
    return path


def test_a_second_test_split_is_left_out_and_named_with_what_is_new_in_it(tmp_path: Path):
    found, task = written(intents(tmp_path / "intents.csv"))
    assert len(task.samples) == 30 and found.roles.split == "test"
    assert task.config.choices == ("balance", "card lost", "rate", "transfer")  # `rate` stands in the examples only
    assert "80 rows of split 'train'" in found.text()
    line = "20 rows of split 'oos_test': 'test' is asked about, which has no 'oos'. For it: --split oos_test"
    assert line in found.text()
    assert "# shots: {n: 5, from: train}" in task.path.read_text()
    other = authoring.look(tmp_path / "intents.csv", wishes=authoring.Wishes(split="oos_test"))
    assert other.roles.split == "oos_test" and "30 rows of split 'test'" in other.text()
    with pytest.raises(ConfigError, match=r"--split names 'tset'(.|\n)*did you mean 'test'"):
        authoring.look(tmp_path / "intents.csv", wishes=authoring.Wishes(split="tset"))


@pytest.mark.parametrize("form", [list, lambda row: dict(zip(("text", "intent"), row))], ids=["cells", "objects"])
def test_a_json_file_with_a_list_for_each_split_is_read_by_split(tmp_path: Path, form: Callable[[list[str]], Any]):
    made = {
        split: [form([f"{split} number {i} please", intent]) for i, intent in enumerate(names * 8)]
        for split, names in (("train", ["pay", "card"]), ("test", ["pay", "card"]), ("oos_test", ["oos"]))
    }
    (tmp_path / "clinc.json").write_text(json.dumps(made))
    found, task = written(tmp_path / "clinc.json")
    assert len(task.samples) == 16 and task.config.choices == ("card", "pay")
    assert "8 rows of split 'oos_test': 'test' is asked about, which has no 'oos'" in found.text()


# --- five more shapes ------------------------------------------------------------------------------------------------

FRENCH = [["N°", "Demande", "Catégorie", "Remarque"]] + [
    [f"D-{i}", f"Bonjour, où en est ma commande n° {i} ?", ("Livraison", "Facturation", "Garantie")[i % 3], ""]
    for i in range(30)
]
JAPANESE = [["受付番号", "問い合わせ内容", "担当部署"]] + [
    [f"A{i:03}", f"注文{i}番の荷物がまだ届きません。確認してください。", ("配送", "請求", "技術")[i % 3]]
    for i in range(30)
]
PLAIN = [{"nr": f"r{i}", "msg": f"The parcel {i} is late, where is it?", "dept": "abc"[i % 3] * 3} for i in range(30)]


def sheets(path: Path) -> None:
    import pandas

    with pandas.ExcelWriter(path) as book:
        pandas.DataFrame(PLAIN).to_excel(book, sheet_name="data", index=False)
        pandas.DataFrame([{"key": "aaa", "meaning": "the first team"}]).to_excel(book, sheet_name="legend", index=False)


def parquet(path: Path) -> None:
    import pandas

    pandas.DataFrame(PLAIN).to_parquet(path)


SHAPES: dict[str, tuple[str, Callable[[Path], object], Mapping[str, str], tuple[str, str, str]]] = {
    "French, Windows": (
        "demandes.csv",
        lambda path: path.write_bytes(cells(FRENCH, ";", "\r\n").encode("cp1252")),
        {},
        ("Demande", "Catégorie", "N°"),
    ),
    "Japanese, UTF-8": (
        "問い合わせ.csv",
        lambda path: path.write_text(cells(JAPANESE, ","), encoding="utf-8"),
        {},
        ("問い合わせ内容", "担当部署", "受付番号"),
    ),
    "Japanese, Shift JIS": (
        "sjis.csv",
        lambda path: path.write_bytes(cells(JAPANESE, ",").encode("cp932")),
        {},
        ("問い合わせ内容", "担当部署", "受付番号"),
    ),
    "TSV": (
        "t.tsv",
        lambda path: path.write_text(cells([PLAIN[0], *(row.values() for row in PLAIN)], "\t"), encoding="utf-8"),
        {},
        ("msg", "dept", "nr"),
    ),
    "a JSON array": ("t.json", lambda path: path.write_text(json.dumps(PLAIN)), {}, ("msg", "dept", "nr")),
    "Parquet": ("t.parquet", parquet, {}, ("msg", "dept", "nr")),
    "Excel, two sheets": ("t.xlsx", sheets, {"sheet": "data"}, ("msg", "dept", "nr")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_of_any_shape_and_language_becomes_a_task(tmp_path: Path, shape: str):
    name, write, given, (input, answer, id) = SHAPES[shape]
    write(tmp_path / name)
    found, task = written(tmp_path / name, **given)
    assert (found.roles.inputs, found.roles.answer, found.roles.id) == ((input,), answer, id)
    assert task.config.kind == "choice" and len(task.config.choices) == 3 and len(task.samples) == 30
    assert f"{{{input}}}" in task.config.prompt


def test_two_sheets_are_not_guessed_between(tmp_path: Path):
    sheets(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match=r"several sheets hold data: 'data', 'legend'(.|\n)*--sheet"):
        authoring.look(tmp_path / "t.xlsx")


def test_a_column_that_is_often_empty_is_not_the_answer_whatever_it_is_called(tmp_path: Path):
    rows = [{"frage": f"Wo ist {i}?", "gruppe": "xyz"[i % 3], "result": "ok" if i % 9 == 0 else ""} for i in range(30)]
    found = authoring.look(lines(tmp_path / "t.jsonl", rows))
    assert found.roles.answer == "gruppe" and "ok in 4 rows, else empty" in found.text()


def test_without_presidio_one_line_says_that_names_were_not_looked_for(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    found = authoring.look(lines(tmp_path / "t.jsonl", PLAIN))
    told = [line for line in found.notes if "names of people" in line]
    assert len(told) == 1 and "openweights-harness[privacy]" in told[0] and found.task["sensitivity"] == "internal"


def test_names_of_people_make_the_task_restricted(tmp_path: Path, monkeypatch):
    class Analyzer:
        def __init__(self, nlp_engine: object, supported_languages: list[str]) -> None:
            self.languages = supported_languages

        def analyze(self, text: str, language: str, entities: list[str], score_threshold: float) -> list[str]:
            assert language in self.languages and entities == ["PERSON"]
            return [text] if language == "de" and "Jürgen Müller" in text else []

    provider = SimpleNamespace(create_engine=lambda: None)
    engines = SimpleNamespace(NlpEngineProvider=lambda nlp_configuration: provider)
    installed = SimpleNamespace(get_installed_models=lambda: ["de_core_news_sm", "en_core_web_sm"])
    monkeypatch.setitem(sys.modules, "presidio_analyzer", SimpleNamespace(AnalyzerEngine=Analyzer))
    monkeypatch.setitem(sys.modules, "presidio_analyzer.nlp_engine", engines)
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(util=installed))
    rows = [{**row, "msg": row["msg"] + (" Gruß, Jürgen Müller" if i == 4 else "")} for i, row in enumerate(PLAIN)]
    found = authoring.look(lines(tmp_path / "t.jsonl", rows))
    assert "looks like names of people: 1 row (row 5) in 'msg' -> sensitivity: restricted" in found.text()
    assert found.task["sensitivity"] == "restricted" and "not looked for" not in found.text()
