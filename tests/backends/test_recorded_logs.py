"""Answers of other tools and of one's own tables, read and judged again: real logs, made here where possible."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.backends import load
from harness.backends.recorded.logs import read_answers
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig
from harness.errors import BackendError, ConfigError, DataError
from harness.measure.other_work import Bystanders
from harness.values import Elapsed, GenerateRequest, Prompt, Provider, Request
from tests.support.asking import request_of
from tests.support.rows import said


def table(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def requests(*ids: str, mode: str = "generate", prompt: str = "{}?", choices: tuple[str, ...] = ()) -> list[Request]:
    more = {"continuations": choices} if mode == "loglikelihood" else {}
    return [request_of(f"k{i}", i, prompt.format(i), mode, **more) for i in ids]


def recorded(script: Any):
    return load(model_of(name="old", backend="recorded", script=script))


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_table_with_id_and_text_is_enough(tmp_path: Path):
    (tmp_path / "a.csv").write_text("id,text\n1,billing\n2,\n")
    found = read_answers(tmp_path / "a.csv").by_sample
    assert {key: answer.text for key, answer in found.items()} == {("1", 0, 1): "billing", ("2", 0, 1): ""}
    assert found["1", 0, 1].input_tokens is None and found["1", 0, 1].usd is None


@pytest.mark.parametrize(
    ("text", "answer", "thought", "cut"),
    [
        ("<think>two and two</think>\n\nfour", "four", "two and two", False),
        ("two and two</think>four", "four", "two and two", False),
        ("[THINK]hm[/THINK]four", "four", "hm", False),
        ("<think>two and", "", "two and", True),
        ("in HTML <think> is no tag", "in HTML <think> is no tag", None, None),
    ],
)
def test_a_thought_in_a_recorded_answer_is_told_apart_as_elsewhere(tmp_path: Path, text, answer, thought, cut):
    (response,) = recorded(str(table(tmp_path, {"id": "a", "text": text}))).answer(requests("a"))
    assert response.text == answer and response.thinking_cut is bool(cut)
    assert (response.thinking and (response.thinking.text, response.thinking.cut)) == (thought and (thought, cut))


def test_times_tokens_and_cost_are_taken_where_told(tmp_path: Path):
    told = {"id": 1, "text": "a", "ttft_s": 0.5, "e2e_s": "2", "input_tokens": 7, "output_tokens": 3, "usd": 0.01}
    path = table(tmp_path, told | {"finish_reason": "length", "model": "old-1"})
    (response,) = recorded(str(path)).answer(requests("1"))
    assert (response.text, response.input_tokens, response.output_tokens) == ("a", 7, 3)
    assert (response.ttft_s, response.e2e_s, response.finish_reason) == (0.5, 2.0, "length")
    assert response.provider == Provider(origin="recorded", model_version="old-1") and response.usd == 0.01


def test_an_old_baseline_joins_the_table_with_its_own_cost_and_where_it_is_from(tmp_path: Path):
    rows = [{"id": str(i), "q": f"{i}+1", "a": str(i + 1)} for i in range(4)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = "task: t\ndata: {file: t.jsonl, id: id}\nkind: generate\nprompt: '{q}'\nanswer: a\nextract: number\n"
    (tmp_path / "t.yaml").write_text(task)
    answers = [{"id": row["id"], "text": row["a"], "usd": 0.01, "model": "old-1", "output_tokens": 2} for row in rows]
    old = {"name": "old", "backend": "recorded", "script": str(table(tmp_path, *answers))}
    given = {"run": "r", "tasks": [str(tmp_path / "t.yaml")], "models": [old], "machine": "cloud-cpu"}
    result = harness.run(validate(RunConfig, given | {"latency": {"requests": 0}}, "test"), out=tmp_path / "out")
    row = result.summary.rows[0]
    assert row.cost.usd == pytest.approx(0.04) and row.cost.usd_per_1k_samples == pytest.approx(10)
    assert row.throughput.output_tokens_per_s is None  # how fast a file is read says nothing
    assert row.tokens.output_tokens == 8 and row.tokens.input_tokens is None
    assert result.summary.spent is None  # nobody was paid in this run
    assert "old: answered as old-1." in said(result.summary)
    assert "old: nothing was asked: answers from a file (recorded), judged here." in said(result.summary)
    assert not any(note.startswith(("Measured on", "Cost unknown")) for note in said(result.summary))


def test_times_that_were_recorded_elsewhere_are_not_told_to_be_measured_beside_other_work(tmp_path: Path, monkeypatch):
    (tmp_path / "t.jsonl").write_text('{"id": "1", "q": "1+1", "a": "2"}\n')
    task = "task: t\ndata: {file: t.jsonl, id: id}\nkind: generate\nprompt: '{q}'\nanswer: a\nextract: number\n"
    (tmp_path / "t.yaml").write_text(task)
    script = str(table(tmp_path, {"id": "1", "text": "2", "e2e_s": 0.5}))
    given = {"run": "r", "tasks": [str(tmp_path / "t.yaml")]}
    given["models"] = [{"name": "old", "backend": "recorded", "script": script}]
    monkeypatch.setattr("harness.runs.latency.between", lambda before, after, served_here: Bystanders(others=0.9))
    result = harness.run(validate(RunConfig, given, "test"), out=tmp_path / "out")
    assert result.summary.rows[0].latency.n == 1
    assert not any("other work" in note for note in said(result.summary))


def test_columns_of_other_names_are_named_in_the_run_file(tmp_path: Path):
    path = table(tmp_path, {"ticket": "x1", "reply": "hi"})
    (response,) = recorded({"file": str(path), "id": "ticket", "text": "reply"}).answer(requests("x1"))
    assert response.text == "hi"
    with pytest.raises(DataError, match=r"no column 'id'(.|\n)*script: \{file"):
        recorded(str(path))


def test_a_sample_without_an_answer_is_an_error_of_that_sample(tmp_path: Path):
    path = table(tmp_path, {"id": "1", "text": "a"}, {"id": "2", "text": None, "error": "http 500"}, {"id": "3"})
    found = {r.key: r for r in recorded(str(path)).answer(requests("1", "2", "3", "4"))}
    assert [found[f"k{i}"].error for i in "1234"] == [
        None,
        "http 500",
        "the recorded answer to sample 3 has no text",
        "no recorded answer to sample 4",
    ]
    assert found["k1"].counted.how == "not recorded"


def test_answers_that_are_missing_are_counted_as_such_in_the_table(tmp_path: Path):
    rows = [{"id": f"q{i}", "q": f"{i}+1", "a": str(i + 1)} for i in range(8)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = "task: t\ndata: {file: t.jsonl, id: id}\nkind: generate\nprompt: '{q}'\nanswer: a\nextract: number\n"
    (tmp_path / "t.yaml").write_text(task)
    kept = [{"id": row["id"], "text": row["a"]} for row in rows[:4]]
    faulty = [{"id": "q4", "text": None, "error": "http 500"}, {"id": "q5", "text": None}]
    old = {"name": "old", "backend": "recorded", "script": str(table(tmp_path, *kept, *faulty))}
    given = {"run": "r", "tasks": [str(tmp_path / "t.yaml")], "models": [old], "latency": {"requests": 0}}
    result = harness.run(validate(RunConfig, given, "test"), out=tmp_path / "out")
    (row,) = result.summary.rows
    assert (row.asked.n, row.asked.failures, row.asked.missing) == (4, {"backend_error": 4}, 3)
    assert "| 1 backend_error, 3 missing, incomplete |" in result.table("markdown")
    assert "old: 3 of 8 answers are missing from the file: of sample q5, q6, q7." in said(result.summary)
    assert not result.complete and not result.resumable  # more than `max_errors`, and nothing would mend it


def test_recorded_log_probabilities_are_scored_and_texts_are_not(tmp_path: Path):
    path = table(tmp_path, {"id": "1", "logprobs": [-1.0, -0.5]}, {"id": "2", "logprobs": "[-3, -4]"})
    asked = requests("1", "2", mode="loglikelihood", choices=(" a", " b"))
    assert [r.logprobs for r in recorded(str(path)).answer(asked)] == [(-1.0, -0.5), (-3.0, -4.0)]
    (wrong,) = recorded(str(path)).answer(requests("1", mode="loglikelihood", choices=(" a", " b", " c")))
    assert wrong.error == "2 recorded log-probabilities for 3 choices"
    with pytest.raises(BackendError, match=r"are texts(.|\n)*as: generate"):
        list(recorded(str(table(tmp_path, {"id": "1", "text": "a"}))).answer(asked))


BAD = {
    "two-answers": ([{"id": "1", "text": "a"}, {"id": "1", "text": "b"}], "two answers to sample 1"),
    "two-models": (
        [{"id": "1", "text": "a", "model": "m"}, {"id": "1", "text": "b", "model": "n"}],
        'name one in the entry of the model, as model: "m"',
    ),
    "negative": ([{"id": "1", "text": "a", "usd": -1}], "sample 1 has the figure -1"),
    "not-a-number": ([{"id": "1", "text": "a", "e2e_s": "nan"}], "sample 1 has the figure nan"),
    "endless": ([{"id": "1", "text": "a", "input_tokens": 10**400}], "cannot be read: OverflowError"),
    "no-log-probability": ([{"id": "1", "logprobs": [-1, "nan"], "text": None}], "has a log-probability that is none"),
    "no-number": ([{"id": "1", "text": "a", "usd": "much"}], "cannot be read: ValueError"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, name: str):
    rows, message = BAD[name]
    with pytest.raises(DataError, match=message):
        read_answers(table(tmp_path, *rows))


@pytest.mark.parametrize(
    "change",
    [
        {"response": {"output": "x", "tokenUsage": {"prompt": [1]}}},
        {"response": {"output": "x", "tokenUsage": {"prompt": -4}}},
        {"response": {"output": "x", "cost": "NaN"}},
        {"response": ["x"]},
        {"latencyMs": 10**400},
        {"prompt": {"raw": {}, "label": "p"}, "provider": 7},
    ],
)
def test_a_log_of_another_shape_is_told_in_three_lines(tmp_path: Path, change: dict[str, Any]):
    path = tmp_path / "output.json"
    path.write_text(json.dumps({"results": {"results": [promptfoo(**change)]}, "metadata": {}}))
    with pytest.raises(DataError) as caught:
        read_answers(path)
    assert len(str(caught.value).splitlines()) == 3 and "cannot be read" in caught.value.what


def test_a_log_of_lists_in_lists_is_told(tmp_path: Path):
    path = tmp_path / "output.json"
    path.write_text('{"results": ' + "[" * 50_000 + "]" * 50_000 + "}")
    with pytest.raises(DataError, match="cannot be read: RecursionError"):
        read_answers(path)


def test_a_missing_file_or_model_is_told_with_the_nearest(tmp_path: Path):
    path = table(tmp_path, {"id": "1", "text": "a", "model": "old-1"})
    with pytest.raises(DataError, match=r"did you mean 'answers\.jsonl'"):
        read_answers(tmp_path / "answer.jsonl")
    with pytest.raises(DataError, match=r"no answers of model 'old1'(.|\n)*did you mean 'old-1'"):
        read_answers(path, model="old1")
    with pytest.raises(ConfigError, match="add `script:`"):
        recorded(None)
    with pytest.raises(ConfigError, match="unknown key 'txt'"):
        recorded({"file": str(path), "txt": "x"})


def test_answers_one_place_off_are_refused(tmp_path: Path):
    words = ["alpha beta", "gamma delta", "epsilon zeta", "eta theta", "iota kappa"]
    asked = [GenerateRequest(f"k{i}", str(i), Prompt(f"Question: {text} ?")) for i, text in enumerate(words)]
    right = table(tmp_path, *({"id": str(i), "text": "a", "prompt": f"Say: {w}!"} for i, w in enumerate(words)))
    assert all(r.error is None for r in recorded(str(right)).answer(asked))
    off = table(tmp_path, *({"id": str(i), "text": "a", "prompt": f"Say: {words[i - 1]}!"} for i in range(5)))
    with pytest.raises(BackendError, match=r"one place before or after(.|\n)*id: position"):
        list(recorded(str(off)).answer(asked))


# --- promptfoo: the documented form, written by hand -----------------------------------------------------------------


def promptfoo(**changes: Any) -> dict[str, Any]:
    base = {
        "testIdx": 0,
        "promptIdx": 0,
        "provider": {"id": "openai:gpt-5", "label": ""},
        "prompt": {"raw": "Which team?", "label": "p"},
        "vars": {"ticket": "t"},
        "response": {"output": "billing", "tokenUsage": {"prompt": 9, "completion": 2, "total": 11}, "cost": 0.001},
        "success": True,
        "score": 1,
        "latencyMs": 1500,
    }
    return base | changes


def test_promptfoo_results_are_read(tmp_path: Path):
    results = [
        promptfoo(),
        promptfoo(testIdx=1, response={"output": {"team": "shipping"}, "cached": True, "cost": 0.0}),
        promptfoo(testIdx=2, response={}, error="API error: 500", success=False),
        promptfoo(testIdx=0, provider={"id": "ollama:llama"}, response={"output": "x"}),
    ]
    path = tmp_path / "output.json"
    content = {
        "evalId": "e",
        "metadata": {"promptfooVersion": "0.121.0"},
        "results": {"version": 3, "results": results},
    }
    path.write_text(json.dumps(content))
    found = read_answers(path, model="openai:gpt-5")
    assert found.origin == "promptfoo 0.121.0" and len(found.by_sample) == 3
    first, second, third = (found.by_sample[str(i), 0, 1] for i in range(3))
    assert (first.text, first.input_tokens, first.usd) == ("billing", 9, 0.001)
    assert first.e2e_s is None and first.elapsed == Elapsed(e2e_s=1.5)  # timed while others ran
    assert second.text == '{"team": "shipping"}' and second.usd is None and second.provider == Provider(from_cache=True)
    assert third.error == "API error: 500" and third.text is None


# --- Inspect: logs made by its mock model ----------------------------------------------------------------------------

INSPECT = """
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
said = [("billing", "stop"), ("shipping", "max_tokens"), ("I cannot", "content_filter"), ("long " * 200, "stop")]
asked = ["alpha beta", "gamma delta", "epsilon zeta", "eta theta"]
samples = MemoryDataset([Sample(input=text, target="billing") for text in asked])
for form in ("json", "eval"):
    outputs = [ModelOutput.from_content("mockllm/model", text, stop_reason=stop) for text, stop in said]
    for output in outputs:
        output.usage = ModelUsage(input_tokens=7, output_tokens=3, total_tokens=10)
    eval(Task(dataset=samples, scorer=match()), model=get_model("mockllm/model", custom_outputs=outputs),
         log_dir="logs", log_format=form, display="none", max_samples=1)
"""


@pytest.fixture(scope="module")
def inspect_logs(tmp_path_factory) -> Path:
    pytest.importorskip("inspect_ai", reason="Inspect is not installed")
    folder = tmp_path_factory.mktemp("inspect")
    subprocess.run([sys.executable, "-c", INSPECT], cwd=folder, check=True, capture_output=True, timeout=120)
    return folder / "logs"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "eval"])
def test_inspect_logs_are_read(inspect_logs: Path, form: str):
    (path,) = inspect_logs.glob(f"*.{form}")
    found = read_answers(path)
    assert found.origin.startswith("Inspect 0.")
    answers = {key: (answer.text, answer.finish) for key, answer in found.by_sample.items()}
    assert answers == {
        ("1", 0, 1): ("billing", "stop"),
        ("2", 0, 1): ("shipping", "length"),
        ("3", 0, 1): ("I cannot", "stop"),
        ("4", 0, 1): ("long " * 200, "stop"),
    }
    third = found.by_sample["3", 0, 1]
    assert third.provider.refusal == "content_filter" and third.provider.model_version == "mockllm/model"
    assert (third.input_tokens, third.output_tokens, third.model) == (7, 3, "mockllm/model")
    assert third.e2e_s is None and third.prompt == "epsilon zeta"


@pytest.mark.slow
def test_inspect_counts_from_one_and_that_is_noticed(inspect_logs: Path):
    (path,) = inspect_logs.glob("*.eval")
    asked = ["alpha beta", "gamma delta", "epsilon zeta", "eta theta"]
    for form in ("{}", "Ticket: {}\nTeam:"):  # what was asked stands there as it is: it tells which is which
        positions = [GenerateRequest(f"k{i}", str(i), Prompt(form.format(text))) for i, text in enumerate(asked)]
        found = list(recorded(str(path)).answer(positions[1:]))
        assert [r.text for r in found[:2]] == ["shipping", "I cannot"]
        assert [r.provider.matched for r in found] == ["2", "3", "4"]
    other = [GenerateRequest(f"k{i}", str(i), Prompt(f"{text.replace(' ', ' and ')}")) for i, text in enumerate(asked)]
    with pytest.raises(BackendError, match="one place before or after"):
        list(recorded(str(path)).answer(other[1:]))
    found = list(recorded({"file": str(path), "id": "position"}).answer(other))
    assert [r.text for r in found[:2]] == ["billing", "shipping"]


# --- lm-eval: a run of 0.4.13 made here ------------------------------------------------------------------------------

LM_EVAL = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{q}}}}"
doc_to_target: "{target}"
{more}
metric_list: [{{metric: {metric}}}]
"""
OURS = """
task: {name}
data: {{file: docs.jsonl}}
kind: {kind}
prompt: "{{q}}"
answer: a
{more}
"""


@pytest.fixture(scope="module")
def lm_eval_run(shared: Path, tmp_path_factory) -> Path:
    """Two tasks of our own, run by lm-eval on a small model, with its sample logs."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folder = tmp_path_factory.mktemp("lm-eval")
    rows = [{"q": q, "a": a} for q, a in [("Once upon a", "time"), ("The little dog was", "happy"), ("Lily", "saw")]]
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = folder / "tasks"
    tasks.mkdir()
    data = json.dumps(str(folder / "docs.jsonl"))
    choices = "['time', 'happy', 'saw']"
    (tasks / "pick.yaml").write_text(LM_EVAL.format(
        name="pick", data=data, kind="multiple_choice", target="{{a}}", metric="acc",
        more=f"doc_to_choice: {choices}"))  # fmt: skip
    (tasks / "write.yaml").write_text(LM_EVAL.format(
        name="write", data=data, kind="generate_until", target="{{a}}", metric="exact_match",
        more='generation_kwargs: {until: ["."], max_gen_toks: 8, do_sample: false}'))  # fmt: skip
    lm = HFLM(pretrained=str(shared / "models" / "stories260K"), dtype="float32", device="cpu")
    found = TaskManager(include_path=str(tasks), include_defaults=False)
    results = simple_evaluate(lm, tasks=["pick", "write"], task_manager=found, log_samples=True, bootstrap_iters=0)
    samples = results.pop("samples")
    tracker = EvaluationTracker(output_path=str(folder / "out"))
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    (folder / "pick.yaml").write_text(OURS.format(
        name="pick", kind="choice", more="choices: [time, happy, saw]"))  # fmt: skip
    (folder / "write.yaml").write_text(OURS.format(
        name="write", kind="generate", more='max_tokens: 8\nstop: ["."]'))  # fmt: skip
    return folder


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("task", ["pick", "write"])
def test_a_run_of_lm_eval_joins_the_table_with_the_numbers_of_the_model_itself(lm_eval_run: Path, shared, task: str):
    (log,) = lm_eval_run.glob(f"out/**/samples_{task}_*.jsonl")
    models = [
        {"name": "here", "path": str(shared / "models" / "stories260K"), "dtype": "fp32", "device": "cpu"},
        {"name": "old", "backend": "recorded", "script": str(log)},
    ]
    given = {"run": "r", "tasks": [str(lm_eval_run / f"{task}.yaml")], "models": models, "latency": {"requests": 0}}
    result = harness.run(validate(RunConfig, given, "test"), out=lm_eval_run / f"run-{task}")
    assert result.complete
    records = result.records()
    here, old = (records[records["model"] == name].set_index("sample_id") for name in ("here", "old"))
    assert len(old) == 3
    if task == "pick":
        for sample in here.index:
            assert old.loc[sample, "choice_logprobs"] == pytest.approx(here.loc[sample, "choice_logprobs"], abs=1e-3)
        assert list(old["value"]) == list(here.loc[old.index, "value"])
    else:
        assert list(old["text"]) == list(here.loc[old.index, "text"])
