"""A file nobody described becomes a task that runs, with what stands out in it said; or a message with the way out."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import harness
from harness.api import score as finish
from harness.backends import load
from harness.cli.app import app
from harness.config.base import validate
from harness.config.model import ModelConfig
from harness.config.run import RunConfig, TaskUse
from harness.errors import ConfigError, DataError, HarnessError
from harness.runs.carry_out import carry_out
from harness.runs.check import report
from harness.tasks import authoring
from harness.tasks.data.columns import columns_of, read_table
from harness.tasks.data.near_duplicates import near_pairs
from harness.tasks.data.personal_data import iban, luhn, personal_data
from harness.tasks.load import load_task
from harness.tasks.self_test import self_test
from harness.tasks.task import Task

TEAMS = ["billing", "shipping", "sales"]
TICKETS = [
    {"ref": f"T{i}", "ticket": f"Ticket number {i} is about thing {i * 7 % 41}.", "team": TEAMS[i % 3]}
    for i in range(30)
]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: list[list[Any]], encoding: str = "utf-8", delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding=encoding) as handle:
        csv.writer(handle, delimiter=delimiter).writerows(rows)
    return path


def as_lists(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def written(path: Path, **given: Any) -> tuple[authoring.Found, Task]:
    """Looks at the file, writes its task, and says that the task judges as it must."""
    found = authoring.look(path, **given)
    task = load_task(TaskUse(task=str(authoring.write(found).task)))
    assert self_test(task).passed
    return found, task


def says(found: authoring.Found, text: str) -> bool:
    return any(text in line for line in (*found.warnings, *found.notes))


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "delimiter", "told"),
    [
        ("utf-8", ",", {}),
        ("utf-8-sig", ",", {}),
        ("utf-16", ",", {}),
        ("utf-16-le", ",", {"encoding": "utf-16-le"}),
        ("cp1252", ";", {"encoding": "cp1252", "delimiter": ";"}),
        ("utf-8", "\t", {"delimiter": "\t"}),
        ("utf-8", "|", {"delimiter": "|"}),
    ],
)
def test_encoding_and_delimiter_are_found_and_written_down(
    tmp_path: Path, encoding: str, delimiter: str, told: dict[str, str]
):
    rows = [{**row, "ticket": row["ticket"] + " Grüße, café; merci"} for row in TICKETS]
    found, task = written(table(tmp_path / "t.csv", as_lists(rows), encoding, delimiter))
    assert {key: getattr(task.config.data, key) for key in told} == told
    assert task.samples[0].row == rows[0]
    assert (found.roles.inputs, found.roles.answer, found.roles.id) == (("ticket",), "team", "ref")
    assert says(found, "cp1252") == (encoding == "cp1252")


def test_every_format_gives_the_same_task(tmp_path: Path):
    import pandas

    frame = pandas.DataFrame(TICKETS)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_excel(tmp_path / "b.xlsx", index=False)
    jsonl(tmp_path / "c.jsonl", TICKETS)
    (tmp_path / "d.json").write_text(json.dumps({"rows": TICKETS}))
    table(tmp_path / "e.tsv", as_lists(TICKETS), delimiter="\t")
    with gzip.open(tmp_path / "f.csv.gz", "wt", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(as_lists(TICKETS))
    tasks = [written(path)[1] for path in sorted(tmp_path.iterdir())]
    assert len(tasks) == 6
    assert len({json.dumps([(s.id, dict(s.row), s.gold) for s in task.samples]) for task in tasks}) == 1


def test_a_sheet_is_named_and_several_are_not_guessed_between(tmp_path: Path):
    import pandas

    path = tmp_path / "t.xlsx"
    with pandas.ExcelWriter(path) as book:
        pandas.DataFrame(TICKETS).to_excel(book, sheet_name="tickets", index=False)
        pandas.DataFrame([{"x": 1}]).to_excel(book, sheet_name="notes", index=False)
    with pytest.raises(DataError, match="several sheets hold data: 'tickets', 'notes'") as caught:
        authoring.look(path)
    assert "--sheet" in caught.value.fix
    _, task = written(path, sheet="tickets")
    assert task.config.data.sheet == "tickets"


def test_merged_cells_and_formulas_of_a_spreadsheet_are_told(tmp_path: Path):
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    for row in [["question", "topic"], *[[f"What is {i}?", TEAMS[i % 2]] for i in range(20)]]:
        sheet.append(row)
    sheet.merge_cells("B3:B4")
    book.save(tmp_path / "merged.xlsx")
    with pytest.raises(DataError, match="1 of 20 rows have no answer: row 3"):
        authoring.look(tmp_path / "merged.xlsx")
    notes = read_table(tmp_path / "merged.xlsx").notes
    assert notes == ("merged cells (B3:B4): only the first cell of each has the value, the others are empty",)
    sheet.unmerge_cells("B3:B4")
    sheet["B3"] = '=CONCAT("bil","ling")'
    book.save(tmp_path / "formula.xlsx")
    with pytest.raises(DataError, match="was never computed"):
        authoring.look(tmp_path / "formula.xlsx")


def test_a_table_without_a_header_gets_names(tmp_path: Path):
    rows = [[f"How much is {i} and {i} again?", i, 2 * i, 3 * i, 4 * i, "B"] for i in range(1, 9)]
    found, task = written(table(tmp_path / "t.csv", rows))
    assert task.config.data.header == ("question", "A", "B", "C", "D", "answer")
    assert [sample.gold for sample in task.samples] == [1] * 8
    assert says(found, "the first line looks like data")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "t.csv", "holds no rows"),
        ("question,answer\n", "t.csv", "holds no rows"),
        ("x", "t.doc", "'.doc' is no format read here"),
        ("question,answer\na,b,c\n", "t.csv", "the row has 3 cells"),
        ('{"a": 1}\n{"a": \n', "t.jsonl", "not JSON"),
        ('{"a": "x", "b": "y"}\n', "t.json", "keys with lists: none"),
        ("question\tanswer\n1?\t2\n", "t.txt", "a plain text holds no questions and answers"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: str, name: str, message: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        authoring.look(tmp_path / name)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path):
    jsonl(tmp_path / "tickets.jsonl", TICKETS)
    with pytest.raises(DataError, match="no such file") as caught:
        authoring.look(tmp_path / "ticket.jsonl")
    assert "tickets.jsonl" in caught.value.fix
    with pytest.raises(DataError, match="this is a folder"):
        authoring.look(tmp_path)


# --- kinds of task ---------------------------------------------------------------------------------------------------

LONG = "The parcel went to the wrong house and the neighbour, who is on holiday, has it now since"
KINDS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "fixed labels": (TICKETS, {"kind": "choice", "choices": ("billing", "sales", "shipping"), "answer_is": "text"}),
    "labels that are numbers": (
        [{"text": f"A film {i}.", "stars": 1 + i % 5} for i in range(30)],
        {"kind": "choice", "choices": ("1", "2", "3", "4", "5"), "answer_is": "text"},
    ),
    "yes and no": (
        [{"question": f"Is {i} even?", "answer": i % 2 == 0} for i in range(20)],
        {"kind": "choice", "choices": ("False", "True")},
    ),
    "a list of choices and an index": (
        [{"query": f"Is it {i}?", "choices": ["no", "yes", "maybe"], "gold": i % 3} for i in range(9)],
        {"choices": "choices", "answer_is": "index", "continuation": "text"},
    ),
    "lettered columns": (
        [{"question": f"{i}?", "A": "x", "B": f"y{i}", "C": "z", "answer": "ABC"[i % 3]} for i in range(9)],
        {"answer_is": "letter", "continuation": "letter", "prompt": "Question: {question}\n{choices}\nAnswer:"},
    ),
    "numbered columns and the text": (
        [{"question": f"{i}?", "Option 1": f"x{i}", "Option 2": f"y{i}", "correct": f"y{i}"} for i in range(9)],
        {"answer_is": "text", "continuation": "letter"},
    ),
    "numbers": (
        [{"question": f"{i} + {i}?", "answer": f"{2 * i:,}"} for i in range(990, 1020)],
        {"kind": "generate", "extract": "number", "score": "number"},
    ),
    "worked solutions": (
        [{"question": f"{i} + {i}?", "answer": f"It is twice {i}.\n#### {2 * i}"} for i in range(20)],
        {"kind": "generate", "extract": "number"},
    ),
    "short texts": (
        [{"question": f"Who is number {i}?", "answer": f"Person {i}"} for i in range(20)],
        {"kind": "generate", "extract": "text", "score": "text", "stop": ("\n",)},
    ),
    "long texts": (
        [{"question": f"What happened on day {i}?", "answer": f"{LONG} {i} weeks."} for i in range(20)],
        {"kind": "generate", "score": ["token_f1", "text"]},
    ),
    "a JSON object": (
        [{"text": f"Bill {i}", "fields": {"total": i, "due": "2024-01-01", "name": f"n{i}"}} for i in range(20)],
        {"extract": "json", "score": {"fields": {"total": "number", "due": "date", "name": "text"}}},
    ),
    "a JSON object as text": (
        [{"text": f"Bill {i}", "output": json.dumps({"total": i})} for i in range(20)],
        {"extract": "json", "score": {"fields": {"total": "number"}}},
    ),
    "entities": (
        [{"text": f"Mr {i}", "entities": [{"type": "person", "text": f"Mr {i}"}]} for i in range(20)],
        {"extract": "json", "score": "entities"},
    ),
    "several labels": (
        [{"text": f"Text {i}", "labels": [f"a{i}", "b"]} for i in range(20)],
        {"extract": "json", "score": "multi_label"},
    ),
    "context and question": (
        [{"context": f"It is {i}.", "question": "What is it?", "answer": f"It: {i}"} for i in range(20)],
        {"prompt": "Context: {context}\nQuestion: {question}\nAnswer:"},
    ),
    "a text to go on with": (
        [{"context": f"After {i} comes the number", "continuation": f"n{i + 1}"} for i in range(20)],
        {"kind": "generate", "prompt": "{context}"},
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_task_follows_from_the_data(tmp_path: Path, name: str):
    rows, expected = KINDS[name]
    config = written(jsonl(tmp_path / "t.jsonl", rows))[1].config
    assert {key: getattr(config, key) for key in expected} == expected


def test_promptfoo_tests_are_recognised_with_their_assertions(tmp_path: Path):
    expected = ["contains:Rome", "icontains: rome", "equals: It is Rome", "Rome", "regex: R.me", "starts-with:It"]
    rows = [{"city": f"c{i}", "style": "brief", "__expected": text} for i, text in enumerate(expected)]
    _, task = written(table(tmp_path / "t.csv", as_lists(rows)))
    assert task.config.prompt == "City: {city}\nStyle: {style}\nAnswer:"
    rules = [{"prompt": f"c{i}", "text": text} for i, text in enumerate(["to Rome", "ROME", "It is Rome", "Roma"])]
    rules += [{"prompt": "c4", "text": "the Rime"}, {"prompt": "c5", "text": "Its"}]
    config = {"run": "r", "tasks": [str(task.path)], "models": [{"name": "m", "backend": "fake", "script": rules}]}
    result = harness.run(validate(RunConfig, config, "test"), out=tmp_path / "out")
    assert [record.value for record in result.records().itertuples()] == [1, 1, 1, 0, 1, 1]


def test_an_assertion_that_needs_a_judge_or_code_is_refused_by_row(tmp_path: Path):
    rows = [{"city": "a", "__expected": "contains: x"}, {"city": "b", "__expected": "llm-rubric: is kind"}]
    with pytest.raises(DataError, match="the assertion 'llm-rubric' is none of equals") as caught:
        authoring.look(table(tmp_path / "t.csv", as_lists(rows)))
    assert "row 2" in caught.value.where


# --- what stands out -------------------------------------------------------------------------------------------------


def test_duplicates_conflicts_rare_labels_and_baselines_are_told_with_their_rows(tmp_path: Path):
    rows = [{**row} for row in TICKETS]
    rows[4] = {**rows[4], "ticket": rows[1]["ticket"].upper()}
    rows[8] = {**rows[8], "ticket": rows[0]["ticket"]}
    rows[9] = {**rows[9], "team": "biling"}
    rows[10] = {**rows[10], "team": "Sales"}
    found, _ = written(jsonl(tmp_path / "t.jsonl", rows), wishes=authoring.Wishes(keep_spellings=True))
    assert says(found, "2 duplicate inputs (rows 1/9, 2/5); 1 with conflicting answers (rows 1/9)")
    assert says(found, "2 labels with one row only: 'biling', 'Sales'")
    assert says(found, "labels that differ in case or punctuation only: Sales, sales")
    assert says(found, "always 'sales' scores 33.3 %; guessing 20.0 %")
    assert says(found, "30 rows show a difference between two models of about 26 points")


def test_an_id_that_stands_twice_is_told_and_not_taken(tmp_path: Path):
    rows = [{**row, "place": "Bern"} for row in TICKETS]
    rows[4]["ref"], rows[7]["ref"] = "T3", ""
    found, task = written(jsonl(tmp_path / "t.jsonl", rows))
    assert found.roles.id is None and task.samples[4].id == "4"
    assert says(found, "'ref' is not taken as id (1 stand twice, 1 empty): samples are named by their place, from 0")
    assert "always Bern" in found.text()
    assert not says(authoring.look(jsonl(tmp_path / "u.jsonl", TICKETS)), "is not taken as id")


def test_there_is_room_for_an_answer_in_a_fence_and_over_several_lines(tmp_path: Path):
    fields = {"amount": 100.5, "currency": "EUR", "iban": "DE783034651"}
    _, task = written(jsonl(tmp_path / "t.jsonl", [{"mail": f"Mail {i}.", "fields": fields} for i in range(9)]))
    tokens = re.findall(r"[a-z]+|[A-Z]+|\d|\n +|\S", "```json\n" + json.dumps(fields, indent=2) + "\n```")
    assert len(tokens) < task.config.max_tokens <= 2 * len(tokens)


def test_a_question_to_a_database_is_shown_with_its_schema(tmp_path: Path):
    rows = [{"schema": "CREATE TABLE t(a INT)", "question": f"Above {i}?", "sql": f"SELECT {i}"} for i in range(9)]
    found, _ = written(jsonl(tmp_path / "t.jsonl", rows))
    assert (found.roles.inputs, found.roles.answer) == (("schema", "question"), "sql")


def test_leakage_between_splits_is_told_exact_and_near(tmp_path: Path):
    words = [f"word{i}" for i in range(30)]
    rows = [{"text": f"Something else entirely, number {i}.", "label": "ab"[i % 2]} for i in range(9)]
    train = [{**row, "text": " ".join([*words, row["text"], *words[::-1]]), "split": "train"} for row in rows]
    test = [{**row, "split": "test"} for row in rows]
    test[2]["text"] = train[0]["text"].upper()
    test[5]["text"] = train[4]["text"] + " please"
    found, task = written(jsonl(tmp_path / "t.jsonl", train + test))
    assert len(task.samples) == 9
    assert says(found, "1 input also in split 'train': row 3")
    assert says(found, "1 input nearly the same in split 'train': row 6")
    apart = tmp_path / "apart"
    apart.mkdir()
    jsonl(apart / "t_train.jsonl", [{k: row[k] for k in ("text", "label")} for row in train])
    found, _ = written(jsonl(apart / "t_test.jsonl", [{k: row[k] for k in ("text", "label")} for row in test]))
    assert says(found, "1 input also in t_train.jsonl: row 3")


def test_nearly_the_same_is_measured_by_shared_runs_of_words():
    one = " ".join(f"w{i}" for i in range(40))
    changed = " ".join("x" if i == 20 else f"w{i}" for i in range(40))  # 3 of 38 runs differ on each side
    halves = " ".join([*(f"w{i}" for i in range(20)), *(f"v{i}" for i in range(20))])
    assert near_pairs([one, "short", ""], [halves, changed, "", "short"]) == [(0, 1), (1, 3)]
    assert near_pairs([one], [halves]) == []
    assert near_pairs([], ["a"]) == near_pairs(["a"], []) == []


def test_what_looks_like_personal_data_makes_the_task_restricted(tmp_path: Path):
    rows = [{**row} for row in TICKETS]
    rows[2]["ticket"] += " Write to jane.doe@example.org"
    rows[4]["ticket"] += " My account is DE89 3704 0044 0532 0130 00"
    found, task = written(jsonl(tmp_path / "t.jsonl", rows))
    assert says(found, "looks like e-mail addresses: 1 row (row 3) in 'ticket' -> sensitivity: restricted")
    assert says(found, "looks like IBANs: 1 row (row 5)")
    assert task.config.sensitivity == "restricted"
    assert written(jsonl(tmp_path / "u.jsonl", TICKETS))[1].config.sensitivity == "internal"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mail a.b+c@mail.example.com now", "e-mail address"),
        ("GB82 WEST 1234 5698 7654 32", "IBAN"),
        ("GB82 WEST 1234 5698 7654 33", None),
        ("card 4111 1111 1111 1111.", "card number"),
        ("card 4111-1111-1111-1112", None),
        ("call +49 170 1234567", "phone number"),
        ("call (415) 555-2671 today", "phone number"),
        ("room 030/1234567", "phone number"),
        ("on 2024-05-03 at 10:00:00", None),
        ("order 12345678901234, 99.95 EUR", None),
        ("me@home", None),
    ],
)
def test_personal_data_is_known_by_its_form_and_check_digits(text: str, kind: str | None):
    assert personal_data([text]) == ({} if kind is None else {kind: [0]})


def test_check_digits_of_published_examples():
    assert luhn("79927398713") and not luhn("79927398710")  # ISO/IEC 7812's usual example
    assert iban("GB29NWBK60161331926819") and not iban("GB29NWBK60161331926818")


# --- bad input -------------------------------------------------------------------------------------------------------


def test_two_columns_that_could_be_the_answer_are_both_named(tmp_path: Path):
    rows = [{**row, "category": "xy"[i % 2]} for i, row in enumerate(TICKETS)]
    path = jsonl(tmp_path / "t.jsonl", rows)
    found = authoring.look(path)
    assert says(found, "also could be the answer: 'team'; 'category' is taken. Otherwise: --answer COLUMN")
    assert authoring.look(path, answer="team").roles.answer == "team"
    with pytest.raises(ConfigError, match="--answer names column 'teem'") as caught:
        authoring.look(path, answer="teem")
    assert caught.value.fix == "did you mean 'team'?"


def test_thousands_of_distinct_answers_are_no_list_of_choices(tmp_path: Path):
    rows = [{"text": f"Case {i}.", "label": f"label {i % 5000}"} for i in range(10_000)]
    found, task = written(jsonl(tmp_path / "t.jsonl", rows))
    assert says(found, "5,000 distinct answers in 'label': too many for a list of choices")
    assert task.config.kind == "generate"


def test_rows_without_an_answer_are_named(tmp_path: Path):
    rows = [{**row, "team": "" if i in (3, 7) else row["team"]} for i, row in enumerate(TICKETS)]
    with pytest.raises(DataError, match="2 of 30 rows have no answer: rows 4, 8") as caught:
        authoring.look(jsonl(tmp_path / "t.jsonl", rows))
    assert "column 'team'" in caught.value.where and "--answer" in caught.value.fix


def test_empty_inputs_and_mixed_types_and_nested_json_are_told(tmp_path: Path):
    rows: list[dict[str, Any]] = [{"q": {"turns": [i]}, "answer": f"a{i}"} for i in range(9)]
    rows[3]["answer"] = 7
    rows[5]["q"] = None
    found, task = written(jsonl(tmp_path / "t.jsonl", rows))
    assert says(found, "mixed types (8 text, 1 number)")
    assert says(found, "'q' is empty in 1 row: row 6")
    assert says(found, "'q' holds nested JSON (objects)")
    assert task.config.kind == "generate"


def test_a_list_of_answers_is_taken_as_all_of_them_and_the_other_reading_is_told(tmp_path: Path):
    path = jsonl(
        tmp_path / "t.jsonl", [{"question": f"{i}?", "answers": [f"a{i}", "b"], "first": f"a{i}"} for i in range(20)]
    )
    found, task = written(path)
    assert task.config.score == "multi_label"
    assert says(found, "right is all that they hold. If any one of it is right, write extract: text, score: text and")
    text = task.path.read_text().replace("extract: json", "extract: text").replace("score: multi_label", "score: text")
    (tmp_path / "u.yaml").write_text(text + 'target: "{first}"\n')
    assert self_test(load_task(TaskUse(task=str(tmp_path / "u.yaml")))).passed


@pytest.mark.slow
def test_a_cell_of_fifty_megabytes_is_told_and_read(tmp_path: Path):
    rows = [[*row.values()] for row in TICKETS]
    rows[6][1] = "word " * 10_000_000
    found = authoring.look(table(tmp_path / "t.csv", [list(TICKETS[0]), *rows]))
    assert says(found, "row 7 of 'ticket' has 50.0 million characters: more than models read, it would be cut")


def test_answers_nothing_can_judge_and_files_without_a_role_are_refused(tmp_path: Path):
    nested = [{"q": f"{i}?", "answer": [{"a": [i]}, "x"]} for i in range(9)]
    with pytest.raises(DataError, match=r"no scorer here can judge the answers in column 'answer' \(list\)"):
        authoring.look(jsonl(tmp_path / "a.jsonl", nested))
    with pytest.raises(DataError, match="no column is left that could be the input"):
        authoring.look(jsonl(tmp_path / "b.jsonl", [{"answer": f"a{i}"} for i in range(9)]))
    with pytest.raises(DataError, match="no column looks like an answer") as caught:
        authoring.look(jsonl(tmp_path / "c.jsonl", [{"x": f"a{i}", "y": f"b{i}", "z": f"c{i}"} for i in range(9)]))
    assert "--answer COLUMN; the columns are x, y, z" in caught.value.fix


def test_answers_that_count_from_one_are_not_read_as_if_from_zero(tmp_path: Path):
    rows = [{"question": f"{i}?", "choices": ["a", "b", "c"], "answer": 1 + i % 3} for i in range(9)]
    with pytest.raises(DataError, match="count from 1"):
        authoring.look(jsonl(tmp_path / "t.jsonl", rows))


@pytest.mark.parametrize("name", ["a {b}", "line\nbreak"])
def test_a_column_that_no_prompt_can_name_is_refused(tmp_path: Path, name: str):
    with pytest.raises(DataError, match="cannot stand in a prompt"):
        authoring.look(jsonl(tmp_path / "t.jsonl", [{name: f"some words {i}", "label": "ab"[i % 2]} for i in range(9)]))


# --- writing ---------------------------------------------------------------------------------------------------------

HOSTILE = ['"', "yes", "null", "1e3", "a: b", "# c", "é\u2028", "\U0001f600", "a\tb", "- x", "\ufeffbom", "back\\"]


def test_labels_and_names_of_any_characters_are_read_back_as_they_are(tmp_path: Path):
    rows = [{"col: # é": f"Row {i}.", "label": HOSTILE[i % len(HOSTILE)]} for i in range(60)]
    _, task = written(jsonl(tmp_path / "t.jsonl", rows))
    assert task.config.choices == tuple(sorted(label.strip() for label in HOSTILE))
    assert task.config.prompt == "Col: # é: {col: # é}\nAnswer:"


def test_nothing_is_overwritten_and_nothing_half_done_is_left(tmp_path: Path):
    path = jsonl(tmp_path / "t.jsonl", TICKETS)
    found = authoring.look(path)
    out = authoring.write(found).task
    before = out.read_text()
    with pytest.raises(ConfigError, match="the task file is there already"):
        authoring.write(found)
    assert out.read_text() == before
    with pytest.raises(ConfigError, match="is no name for a task file"):
        authoring.write(found, tmp_path / "t.txt")
    jsonl(path, [*TICKETS, TICKETS[0]])  # the file changes between looking and writing
    with pytest.raises(HarnessError, match="the data has changed"):
        authoring.write(found, tmp_path / "u.yaml")
    assert not (tmp_path / "u.yaml").exists()


def test_a_task_in_another_folder_gets_a_copy_of_the_data(tmp_path: Path):
    path = jsonl(tmp_path / "t.jsonl", TICKETS)
    done = authoring.write(authoring.look(path), tmp_path / "tasks" / "x.yaml")
    assert done.data == tmp_path / "tasks" / "t.jsonl" and done.data.read_bytes() == path.read_bytes()
    assert len(load_task(TaskUse(task=str(done.task))).samples) == 30
    jsonl(done.data, TICKETS[:3])
    with pytest.raises(ConfigError, match=r"another file named t\.jsonl"):
        authoring.write(authoring.look(path), tmp_path / "tasks" / "y.yaml")
    with pytest.raises(ConfigError, match="cannot be written"):
        authoring.write(authoring.look(path), done.data / "z.yaml")


def test_the_command_reports_writes_and_names_the_next_one(tmp_path: Path):
    path = jsonl(tmp_path / "t.jsonl", TICKETS)
    done = CliRunner().invoke(app, ["init", str(path)])
    assert done.exit_code == 0
    assert "30 rows · utf-8 · 3 columns" in done.stdout
    assert f"next: harness check {tmp_path / 't.yaml'}" in done.stderr
    checked = CliRunner().invoke(app, ["check", str(tmp_path / "t.yaml")])
    assert checked.exit_code == 0 and "gold answer scores 1: ok" in checked.stdout
    as_json = json.loads(CliRunner().invoke(app, ["init", str(path), "--json", "--out", f"{tmp_path}/u.yaml"]).stdout)
    assert as_json["roles"]["answer"] == "team" and as_json["rows"] == 30


def test_questions_are_asked_only_on_request_and_guesses_are_their_defaults(tmp_path: Path):
    rows = [{**row, "category": "xy"[i % 2], "customer": f"c{i % 5}"} for i, row in enumerate(TICKETS)]
    path = jsonl(tmp_path / "t.jsonl", rows)
    done = CliRunner().invoke(app, ["init", str(path), "--ask", "--json"], input="\nteam\n\n\n")
    assert done.exit_code == 0, done.output
    roles = json.loads(done.stdout[done.stdout.index("{") :])["roles"]
    assert (roles["inputs"], roles["answer"], roles["id"], roles["cluster"]) == (["ticket"], "team", "ref", "customer")


def test_columns_say_what_stands_in_them():
    rows = [{"a": "1,5", "b": "Yes", "c": None, "d": [1], "e": "x y"}, {"a": "2", "b": "no", "d": [], "e": 3}]
    kinds = {column.name: (column.kind, column.empty) for column in columns_of(rows)}
    assert kinds == {
        "a": ("number", ()),
        "b": ("yes/no", ()),
        "c": ("empty", (1, 2)),
        "d": ("list", ()),
        "e": ("mixed", ()),
    }


# --- real data -------------------------------------------------------------------------------------------------------

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FILES = [path for path in sorted(DATA.rglob("*")) if path.suffix in {".csv", ".jsonl", ".parquet"}]
# Files that are no task by themselves, and why: answers without a question, tables of a data base, calls of functions
# whose right answers stand in the file beside it.
NO_TASK = {
    "bfcl/irrelevance": "no scorer here can judge the answers in column 'function'",
    "bfcl/multiple": "no scorer here can judge the answers in column 'function'",
    "bfcl/multiple_answers": "no column is left that could be the input",
    "bfcl/simple_python": "no scorer here can judge the answers in column 'function'",
    "bfcl/simple_python_answers": "no column is left that could be the input",
    "mt_bench_reference_gpt4": "no column looks like an answer",
    "tau2_retail/db_products": "no column looks like an answer",
    "tau2_retail/db_users": "no column looks like an answer",
    "tau2_retail/tasks": "no column looks like an answer",
}


def name_of(path: Path) -> str:
    return path.relative_to(DATA).with_suffix("").as_posix()


@pytest.fixture(scope="module")
def demo() -> Callable[[ModelConfig], Any]:
    """Loads the demo model once for all runs."""
    backends: dict[str, Any] = {}

    def loaded(config: ModelConfig) -> Any:
        if not backends:
            backends["one"] = load(config)
        backend = backends["one"]
        return SimpleNamespace(
            answer=backend.answer,
            describe=backend.describe,
            computed=backend.computed,
            close=lambda: None,
        )

    return loaded


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_real_data_set_becomes_a_task_that_judges_rightly_and_runs_unedited(
    path: Path, tmp_path: Path, demo: Callable[[ModelConfig], Any]
):
    if name_of(path) in NO_TASK:
        with pytest.raises(DataError, match=NO_TASK[name_of(path)]):
            authoring.look(path)
        return
    task = authoring.write(authoring.look(path), tmp_path / f"{path.stem}.yaml").task
    config = {
        "run": "r",
        "tasks": [str(task)],
        "models": [{"name": "m", "path": "demo-0.1m", "threads": 1}],
        "first": 2,
    }
    checked = report(validate(RunConfig, config | {"latency": {"requests": 0}}, "test"))
    assert checked.passed, checked.text()
    (test,) = checked.self_tests
    assert test.tried and test.wrong_tried == test.tried  # each has another sample with another answer
    for _ in carry_out(checked.plan, tmp_path / "run", demo):
        pass
    result = finish(tmp_path / "run")
    (row,) = result.summary.rows
    assert result.complete and not {"scorer_error", "backend_error"} & row.asked.failures.keys()


@pytest.mark.shared
def test_the_real_data_sets_are_all_there():
    assert len(FILES) >= 75 and set(NO_TASK) <= set(map(name_of, FILES))
