"""Task files and rows become samples, or a message that names the row; shots depend on nothing but the sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import DataError, HarnessError, TaskError
from harness.runs.check import report
from harness.tasks.load import load_task, load_tasks, task_names
from harness.tasks.prompts import check_columns
from harness.tasks.score_answer import judge
from harness.tasks.shots import shots_for
from harness.tasks.task import Task
from harness.values import Failure, Response

ROWS = [
    {"id": "a", "q": "one?", "label": "yes", "split": "test", "who": "u1"},
    {"id": "b", "q": "two?", "label": "no", "split": "test", "who": "u1"},
    {"id": "c", "q": "three?", "label": "yes", "split": "test", "who": "u2"},
    {"id": "d", "q": "four?", "label": "no", "split": "dev", "who": "u2"},
    {"id": "e", "q": "five?", "label": "yes", "split": "dev", "who": "u1"},
]
CHOICE: dict[str, Any] = {
    "task": "t",
    "data": {"file": "t.jsonl", "split": "test", "id": "id"},
    "kind": "choice",
    "prompt": "{q}",
    "choices": ["no", "yes"],
    "answer": "label",
}


def make(folder: Path, rows: list[dict[str, Any]] = ROWS, **changes: Any) -> Task:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {key: value for key, value in (CHOICE | changes).items() if value is not None}
    (folder / "t.yaml").write_text(yaml.safe_dump(given))
    return load_task(TaskUse(task=str(folder / "t.yaml")))


def test_rows_of_the_split_become_samples_in_order(tmp_path: Path):
    task = make(tmp_path, cluster="who")
    assert [(s.id, s.expected, s.gold, s.cluster) for s in task.samples] == [
        ("a", "yes", 1, "u1"),
        ("b", "no", 0, "u1"),
        ("c", "yes", 1, "u2"),
    ]


@pytest.mark.parametrize(
    ("score", "column"),
    [("promptfoo", "assertion"), ("bias", "unknown"), ("instructions", "kwargs"), (["text", "bias"], "unknown")],
)
def test_a_column_that_a_scorer_reads_is_missed_before_anything_runs(tmp_path: Path, score: Any, column: str):
    changes = {"score": score, "continuation": "text"}
    with pytest.raises(TaskError, match=f"score: \\w+ names column '{column}', which the data do not have") as caught:
        make(tmp_path, **changes)
    assert "sample a" in caught.value.where and "known: " in caught.value.fix
    more = {"assertion": "equals", "unknown": "no", "biased": ["yes"], "ambiguous": True, "kwargs": [{}]}
    assert len(make(tmp_path, [row | more for row in ROWS], **changes).samples) == 3


def test_a_scorer_that_fails_on_a_choice_is_that_samples_failure(tmp_path: Path):
    task = make(tmp_path, [row | {"kwargs": [{}]} for row in ROWS], score="instructions")
    score = judge(task.config, task.samples[0], Response(key="k", prompt=None, logprobs=(-1.0, -2.0)))
    assert score.failure is Failure.SCORER_ERROR and score.value is None and "KeyError" in score.answer


@pytest.mark.parametrize(
    ("answers", "kind", "golds"),
    [
        (["no", "yes", "no"], "auto", [0, 1, 0]),
        (["A", "b", "A"], "auto", [0, 1, 0]),
        (["0", "1", "1"], "auto", [0, 1, 1]),
        ([0, 1, 1], "auto", [0, 1, 1]),
    ],
)
def test_an_answer_is_the_choice_its_letter_or_its_index(tmp_path: Path, answers: list, kind: str, golds: list):
    rows = [{**row, "label": answer} for row, answer in zip(ROWS, answers)]
    task = make(tmp_path, rows, answer_is=kind)
    assert [sample.gold for sample in task.samples] == golds


def test_one_reading_of_the_answers_holds_for_the_whole_column(tmp_path: Path):
    # "1" is a choice of the first row and an index in the second: only the index makes sense for both
    rows = [{**ROWS[0], "options": ["1", "0"], "label": "1"}, {**ROWS[1], "options": ["x", "y"], "label": "0"}]
    assert [sample.gold for sample in make(tmp_path, rows, choices="options").samples] == [1, 0]


def test_a_number_is_an_index_even_where_it_is_also_a_choice(tmp_path: Path):
    rows = [{**ROWS[0], "options": ["1", "0"], "label": 1}]
    assert make(tmp_path, rows, choices="options").samples[0].gold == 1


def test_identical_choices_keep_the_index_that_is_right(tmp_path: Path):
    rows = [{**ROWS[0], "options": ["same", "same", "other"], "label": 1}]
    sample = make(tmp_path, rows, choices="options").samples[0]
    assert (sample.gold, sample.labels) == (1, ("same", "same", "other"))


@pytest.mark.parametrize(
    ("changes", "row", "what", "where", "fix"),
    [
        ({"answer": "lable"}, {}, "answer names column 'lable'", "t.yaml", "did you mean 'label'?"),
        ({"cluster": "whoo"}, {}, "cluster names column 'whoo'", "t.yaml", "did you mean 'who'?"),
        ({}, {"label": "maybe"}, "answer 'maybe' is none of the choices", "row 2", "known: no, yes"),
        ({}, {"label": "yess"}, "answer 'yess' is none of the choices", "row 2", "did you mean 'yes'?"),
        ({}, {"label": None}, "no answer in column 'label'", "row 2", "fill it in"),
        ({}, {"label": ""}, "no answer in column 'label'", "row 2", "fill it in"),
        ({}, {"id": "a"}, "'a'", "t.jsonl", ""),
        ({"choices": "options"}, {"options": ["x"]}, "column 'options'", "row 1", ""),
        ({"prepare": "mmul"}, {}, "no function 'mmul'", "t.yaml", "did you mean 'mmlu'?"),
        ({"prepare": "hellaswag"}, {}, "'hellaswag' cannot read this row", "row 1", "the columns here are id, q"),
        ({"extract": "number"}, {}, "a choice task has no `extract`", "t.yaml", "it is for `kind: generate`"),
        ({"score": "exact_mach"}, {}, "unknown scorer 'exact_mach'", "t.yaml", "did you mean 'exact_match'?"),
        ({"also": {"x": "nubmer"}}, {}, "unknown extractor 'nubmer'", "t.yaml", "did you mean"),
        ({"data": {**CHOICE["data"], "split": "tset"}}, {}, "tset", "t.jsonl", "test"),
        ({"data": {**CHOICE["data"], "file": "u.jsonl"}}, {}, "no such data file", "u.jsonl", "t.jsonl"),
        ({"shots": {"n": 1, "from": "dve"}}, {}, "dve", "t.jsonl", "dev"),
        ({"shots": {"n": 1, "from": "dev", "match": "whoo"}}, {}, "shots: match names column 'whoo'", "t.yaml", "who"),
        ({"shots": {"n": 1, "from": "dev", "pick": "fixed", "ids": ["f"]}}, {}, "no row with id 'f'", "t.yaml", ""),
    ],
)
def test_a_mistake_names_what_where_and_fix(
    tmp_path: Path, changes: dict[str, Any], row: dict[str, Any], what: str, where: str, fix: str
):
    rows = [ROWS[0], {**ROWS[1], **row}, *ROWS[2:]] if row else ROWS
    with pytest.raises(HarnessError) as caught:
        make(tmp_path, rows, **changes)
    assert what in caught.value.what
    assert where in caught.value.where
    assert fix in caught.value.fix


def test_a_column_of_choices_that_is_no_list_is_refused(tmp_path: Path):
    with pytest.raises(TaskError, match="column 'options' holds no list"):
        make(tmp_path, [{**ROWS[0], "options": "x, y"}], choices="options")
    with pytest.raises(TaskError, match="1 choices"):
        make(tmp_path, [{**ROWS[0], "options": '["x"]'}], choices="options")
    with pytest.raises(TaskError, match="an empty choice"):
        make(tmp_path, [{**ROWS[0], "A": "x", "B": ""}], choices={"columns": ["A", "B"]})


def test_sensitivity_can_only_be_raised(tmp_path: Path):
    make(tmp_path, sensitivity="internal")
    use = TaskUse(task=str(tmp_path / "t.yaml"), sensitivity="restricted")
    assert load_task(use).config.sensitivity == "restricted"
    with pytest.raises(TaskError, match="'internal' cannot be lowered to 'public'"):
        load_task(use.model_copy(update={"sensitivity": "public"}))


def ids(shots: tuple) -> list[str]:
    return [shot.id for shot in shots]


def test_shots_come_first_in_order_from_their_split(tmp_path: Path):
    task = make(tmp_path, shots={"n": 2, "from": "dev"})
    assert ids(shots_for(task, task.samples[0], 0)) == ["d", "e"]


def test_shots_of_the_own_split_never_show_the_sample_itself(tmp_path: Path):
    task = make(tmp_path, shots={"n": 2})
    assert [ids(shots_for(task, sample, 0)) for sample in task.samples] == [["b", "c"], ["a", "c"], ["a", "b"]]


def test_shots_may_be_named_and_may_share_a_column_with_the_sample(tmp_path: Path):
    named = make(tmp_path, shots={"n": 1, "from": "dev", "pick": "fixed", "ids": ["e"]})
    assert ids(shots_for(named, named.samples[0], 0)) == ["e"]
    matched = make(tmp_path, shots={"n": 1, "from": "dev", "match": "who"})
    assert [ids(shots_for(matched, sample, 0)) for sample in matched.samples] == [["e"], ["e"], ["d"]]


def test_random_shots_depend_on_sample_and_seed_alone(tmp_path: Path):
    rows = [{"id": str(i), "q": f"{i}?", "label": "yes", "split": "test"} for i in range(30)]
    task = make(tmp_path, rows, shots={"n": 5, "pick": "random"})
    drawn = {sample.id: ids(shots_for(task, sample, 7)) for sample in task.samples}
    assert len(set(map(tuple, drawn.values()))) > 25
    again = {sample.id: ids(shots_for(task, sample, 7)) for sample in reversed(task.samples)}
    assert again == drawn
    assert ids(shots_for(task, task.samples[3], 8)) != drawn["3"]


def test_too_few_shots_are_an_error_and_not_fewer_shots(tmp_path: Path):
    task = make(tmp_path, shots={"n": 3, "from": "dev"})
    with pytest.raises(TaskError, match="sample a needs 3 shots, its data have 2"):
        shots_for(task, task.samples[0], 0)


def test_bundled_tasks_are_there_and_open_with_their_command():
    names = task_names()
    assert {"support-routing", "invoice-fields", "product-facts", "mmlu", "gsm8k", "banking77"} <= set(names)


@pytest.mark.parametrize("name", ["support-routing", "invoice-fields", "product-facts"])
def test_our_own_tasks_have_enough_rows(name: str):
    assert len(load_task(TaskUse(task=name)).samples) >= 300


@pytest.mark.slow
def test_data_of_the_hub_say_how_to_give_a_local_copy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    with pytest.raises(DataError, match="--data"):
        load_task(TaskUse(task="arc-easy", data=None))


COSTS = {"no": {"yes": 5, "no_answer": 2}}


@pytest.mark.parametrize(
    ("changes", "what", "fix"),
    [
        ({"costs": {"nope": {"yes": 5}}}, "costs: 'nope' is none of the choices", "did you mean 'no'?"),
        ({"costs": {"no": {"yess": 5}}}, "costs: 'yess' is none of the choices", "did you mean 'yes'?"),
        ({"costs": {"no_answer": {"yes": 5}}}, "costs: 'no_answer' is none of the choices", "known: no, yes"),
        ({"costs": {"no": {"yes": -1}}}, "costs.no.yes: input should be greater than or equal to 0", "mend this value"),
        ({"prompts": {"short": "{q}"}}, "give either `prompt` or `prompts`", "mend this value"),
        ({"prompt": ""}, "give either `prompt` or `prompts`", "mend this value"),
        ({"prompt": "", "prompts": {}}, "prompts: dictionary should have at least 1 item", "mend this value"),
        ({"prompt": "", "prompts": {"a": {"promt": "x"}}}, "unknown key 'promt'", "did you mean 'prompt'?"),
        ({"kind": "cloze"}, "a cloze task has no `choices`", "leave it out: it is for `kind: choice`"),
        ({"kind": "cloze", "choices": None, "ending": "x"}, "a cloze task has no `ending`", "leave it out"),
        ({"kind": "chioce"}, "kind: 'chioce' is no kind of task", "did you mean 'choice'?"),
        ({"prompt": "", "prompts": {"a": {"prompt": "x", "extract": "text"}}}, "has no `extract`", "mend this value"),
        ({"answer_is": "flags"}, "answer 'yes' is none of the choices", "did you mean 'yes'?"),
        ({"shots": {"n": 1, "file": "u.jsonl"}}, "no such data file", "t.jsonl"),
        (
            {
                "kind": "generate",
                "choices": None,
                "prompt": "",
                "prompts": {"a": {"prompt": "{q}", "extract": "nubmer"}},
            },
            "unknown extractor 'nubmer'",
            "did you mean 'number'?",
        ),
    ],
)
def test_a_mistake_in_what_is_asked_or_what_it_costs_is_named(
    tmp_path: Path, changes: dict[str, Any], what: str, fix: str
):
    make(tmp_path, costs=COSTS)  # the task itself is right
    with pytest.raises(HarnessError) as caught:
        make(tmp_path, **changes)
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_several_choices_may_be_right(tmp_path: Path):
    rows = [{**ROWS[0], "options": ["a", "b", "c"], "label": [0, 1, 1]}]
    sample = make(tmp_path, rows, choices="options", answer_is="flags").samples[0]
    assert (sample.gold, sample.right, sample.expected) == (1, (1, 2), "b")
    for flags in ([0, 0, 0], [0, 1], [0, 2, 1], "011"):
        with pytest.raises(TaskError, match="is none of the choices"):
            make(tmp_path, [{**rows[0], "label": flags}], choices="options", answer_is="flags")


def test_examples_may_stand_in_a_file_of_their_own(tmp_path: Path):
    (tmp_path / "shots.jsonl").write_text('{"q": "shown?", "label": "no", "who": "u1"}\n')
    task = make(tmp_path, shots={"n": 1, "file": "shots.jsonl"})
    assert [shots_for(task, sample, 0)[0].row["q"] for sample in task.samples] == ["shown?"] * 3


def test_prompts_differ_in_what_they_name_and_share_the_rest(tmp_path: Path):
    prompts = {"short": "{q}", "long": {"prompt": "Please: {q}", "max_tokens": 7, "stop": ["x"]}}
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    config = {key: value for key, value in CHOICE.items() if key != "prompt"} | {"prompts": prompts, "max_tokens": 5}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    short, long = load_tasks(TaskUse(task=str(tmp_path / "t.yaml")))
    assert (short.name, short.config.prompt, short.config.max_tokens, short.config.stop) == ("t[short]", "{q}", 5, ())
    assert (long.name, long.config.prompt, long.config.max_tokens, long.config.stop) == (
        "t[long]",
        "Please: {q}",
        7,
        ("x",),
    )
    assert short.family == long.family == "t"
    assert load_task(TaskUse(task=str(tmp_path / "t.yaml"))).name == "t[short]"


def test_rows_of_several_configurations_say_which_they_are_from(tmp_path: Path):
    folder = tmp_path / "copy"
    (folder / "two").mkdir(parents=True)
    (folder / "one.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    (folder / "two" / "test.jsonl").write_text(json.dumps(ROWS[1]) + "\n")
    data = {"hub": "a/b", "config": ["one", "two"], "split": "test"}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(CHOICE | {"data": data}))
    task = load_task(TaskUse(task=str(tmp_path / "t.yaml"), data=str(folder)))
    assert [(sample.id, sample.row["_file"]) for sample in task.samples] == [("one/0", "one"), ("two/0", "two")]
    one = load_task(TaskUse(task=str(tmp_path / "t.yaml"), data=str(folder / "one.jsonl")))
    assert [sample.id for sample in one.samples] == ["one/0"] and one.sets == 1  # of 2, as the table says
    (folder / "three.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    with pytest.raises(TaskError, match="reads 2 sets of rows, and the file is none of them by its name"):
        load_task(TaskUse(task=str(tmp_path / "t.yaml"), data=str(folder / "three.jsonl")))


def test_a_row_whose_id_is_its_position_is_named_by_both(tmp_path: Path):
    rows = [{key: value for key, value in row.items() if key != "id"} for row in ROWS]
    by_place = {**CHOICE["data"], "id": None}
    with pytest.raises(TaskError, match=r"row 2 \(sample 1\)"):
        make(tmp_path, [rows[0], {**rows[1], "label": "maybe"}], data=by_place)
    told = "its ids are positions from 0: row 1 is sample 0"
    for data, shown in ((by_place, True), (CHOICE["data"], False)):
        make(tmp_path, ROWS, data=data)
        models = [{"name": "m", "backend": "fake"}]
        run = {"run": "r", "tasks": [str(tmp_path / "t.yaml")], "models": models}
        assert (told in report(validate(RunConfig, run, "test")).text()) is shown


@pytest.mark.parametrize("key", ["label", "who", "q"])
def test_a_row_that_lacks_a_column_is_named(tmp_path: Path, key: str):
    rows = [*ROWS[:2], {name: value for name, value in ROWS[2].items() if name != key}, *ROWS[3:]]
    with pytest.raises(TaskError) as caught:
        task = make(tmp_path, rows, cluster="who")
        check_columns(task.config, task.samples, task.where)
    assert f"column '{key}'" in caught.value.what and "row 3 (sample c)" in str(caught.value)


def test_every_prompt_shows_the_same_random_examples(tmp_path: Path):
    rows = [{"id": str(i), "q": f"{i}?", "label": "yes", "split": "test"} for i in range(30)]
    config = {"prompt": "", "prompts": {"a": "{q}", "b": "{q}!"}, "shots": {"n": 3, "pick": "random"}}
    make(tmp_path, rows, **config)
    a, b = load_tasks(TaskUse(task=str(tmp_path / "t.yaml")))
    for one, other in zip(a.samples, b.samples, strict=True):
        assert ids(shots_for(a, one, 0)) == ids(shots_for(b, other, 0))
