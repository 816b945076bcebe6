"""Tasks, models and scorers may be names, values or objects; what cannot be one is refused in three lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.errors import ConfigError, DataError, StoreError, TaskError

ROWS = [{"ticket": "Charged twice", "team": "billing"}, {"ticket": "No parcel", "team": "shipping"}]


def exact(expected: Any, answer: Any) -> float:
    return float(expected == answer)


def with_row(expected: Any, answer: Any, row: Any) -> tuple[float, dict[str, float]]:
    return 1.0, {"long": float(len(row["ticket"]) > 10)}


class Billing:
    """Answers everything with one word."""

    name = "mine"

    def __init__(self) -> None:
        self.asked = 0
        self.closed = False

    def answer(self, requests: Sequence[harness.Request]) -> Iterator[harness.Response]:
        for request in requests:
            self.asked += 1
            yield harness.Response(
                request.key, "p", text="billing", input_tokens=3, output_tokens=1, finish_reason="stop"
            )

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tickets(score: Any = exact, rows: Any = ROWS, **changes: Any) -> harness.Task:
    keys = {"task": "tickets", "kind": "generate", "prompt": "Team of: {ticket}", "answer": "team"}
    return harness.make_task(rows, score=score, **keys | changes)


def test_a_run_of_a_task_a_backend_and_a_scorer_that_are_objects():
    backend, seen = Billing(), []
    run = harness.run(tasks=[tickets()], models=[backend], on_event=seen.append, latency=0, out="out")
    assert run.complete and list(run.records()["value"]) == [1.0, 0.0]
    first, *answers, last = seen
    assert first == harness.Started(("mine", "tickets"), "answers", 2) and isinstance(last, harness.Finished)
    assert [type(event) for event in answers] == [harness.Answered] * 2 and backend.asked == 2 and not backend.closed
    again = harness.run(tasks=tickets(), models=backend, latency=0, out="out")  # one alone; nothing is asked twice
    assert backend.asked == 2 and again.folder == run.folder
    assert harness.verify("out").ok


def test_a_run_in_a_notebook_is_a_table_with_every_text_escaped():
    run = harness.run(tasks=[tickets(task="t", asks="<b>")], models=[Billing()], latency=0)
    assert "<table>" in run._repr_html_() and "<td>mine</td>" in run._repr_html_()


def test_objects_and_names_stand_in_one_run(place: Path):
    (place / "t.csv").write_text("q,a\nx,billing\n")
    (place / "t.yaml").write_text('task: t\ndata: {file: t.csv}\nkind: generate\nprompt: "{q}"\nanswer: a\n')
    plan = harness.plan(tasks=["t.yaml", tickets()], models=[{"name": "s", "backend": "fake"}, Billing()])
    assert [task.name for task in plan.tasks] == ["t", "tickets"]
    assert [model.config.name for model in plan.models] == ["s", "mine"]


def test_a_task_needs_no_model_to_be_checked():
    assert harness.check(tasks=[tickets()]).passed


def test_a_scorer_may_see_the_row_and_give_metrics():
    run = harness.run(tasks=[tickets(with_row)], models=[Billing()], latency=0)
    assert [metrics["long"] for metrics in run.records()["metrics"]] == [1.0, 0.0]


def test_another_scorer_or_other_rows_are_another_plan():
    plans = [
        harness.plan(tasks=[task], models=[Billing()]).digest
        for task in (tickets(), tickets(with_row), tickets(rows=ROWS[:1]), tickets())
    ]
    assert plans[0] == plans[3] and len(set(plans)) == 3
    harness.run(tasks=[tickets()], models=[Billing()], latency=0, out="out")
    with pytest.raises(StoreError, match="begun under another plan"):
        harness.run(tasks=[tickets(with_row)], models=[Billing()], latency=0, out="out")


def test_what_python_made_cannot_be_run_from_a_file(place: Path):
    for entries in (
        {"tasks": ["python:tickets"], "models": [{"name": "s", "backend": "fake"}]},
        {"tasks": [tickets()], "models": [{"name": "s", "backend": "python"}]},
    ):
        with pytest.raises(ConfigError, match="made in Python, and only the program"):
            harness.run(**entries)


class Half:
    """No backend: it cannot answer."""

    def describe(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("make", "kind", "what"),
    [
        (lambda: harness.run(3), ConfigError, "a run is a file's name, a RunConfig or a mapping, and this is a int"),
        (lambda: harness.run({}), ConfigError, "error: key 'models' is missing\n.*\n  fix"),
        (lambda: harness.run("quickstart", first=2, limit=1), ConfigError, "`limit` and `first` exclude each other"),
        (
            lambda: harness.run("quickstart", limits=2),
            ConfigError,
            "'limits' is nothing .*\n  fix did you mean",
        ),
        (lambda: harness.run(tasks=[3], models=["x"]), ConfigError, "error: tasks.0.*\n  at "),
        (lambda: harness.run(tasks=["gsm8k"], models=[3]), ConfigError, "error: models.0.*\n  at "),
        (lambda: harness.run(tasks=["gsm8k"], models=[Half()]), ConfigError, "a Half is no backend: it has no "),
        (lambda: tickets(rows=[]), DataError, "there are no rows\n  at .*\n  fix"),
        (lambda: tickets(rows=[3]), DataError, "row 1 is a int, not a mapping"),
        (lambda: tickets(rows=[{"ticket": "x", "team": ""}]), TaskError, "no answer in column 'team'"),
        (lambda: tickets(answer="tem"), TaskError, "names column 'tem', .*\n  at .*\n  fix did you mean 'team'"),
        (lambda: tickets(promt="x"), ConfigError, "unknown key 'promt'\n.*\n  fix did you mean 'prompt'"),
        (lambda: tickets(int), TaskError, "a type is no function that could be named\n.*\n  fix write def score"),
        (lambda: tickets("exactmatch"), TaskError, "exactmatch"),
    ],
)
def test_a_mistake_is_told_and_never_a_bug(make: Any, kind: type[Exception], what: str):
    with pytest.raises(kind, match=what):
        make()
