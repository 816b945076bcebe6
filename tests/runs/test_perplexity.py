"""What a text costs: bits for each of its bytes, over all texts together, as the peer counts it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import harness
from harness.analysis.perplexity import perplexities
from harness.cli.app import app
from harness.config.base import validate
from harness.config.run import RunConfig
from harness.errors import HarnessError
from harness.reports.formats import terminal
from harness.runs.plan import make_plan
from harness.values import Record

EXCERPT = 6000  # characters of the novel: a few windows of a small model
TASK = {"task": "novel", "kind": "perplexity", "answer": "text"}


def record(**metrics: float) -> Record:
    return Record("m", "t", "1", 0, "loglikelihood", "x", None, 0.5, None, 1, 0, (-1.0,), None, None, 0, metrics)


def run_of(tmp: Path, text: str, model: dict, **changes) -> harness.Run:
    (tmp / "novel.txt").write_text(text, encoding="utf-8")
    (tmp / "novel.yaml").write_text(yaml.safe_dump({**TASK, "data": {"file": "novel.txt"}, **changes}))
    models = [{"name": "m", **model}]
    run = {"run": "t", "models": models, "tasks": [str(tmp / "novel.yaml")], "latency": {"requests": 0}}
    return harness.run(validate(RunConfig, run, "test"), out=tmp / "out")


def test_bits_are_spread_over_the_bytes_of_all_texts_together_not_averaged_by_text():
    texts = [record(nats=8 * math.log(2), bytes=8, words=2), record(nats=3 * math.log(2), bytes=1, words=1)]
    found = perplexities(texts, None)
    assert found["bits_per_byte"].value == pytest.approx(11 / 9)  # and not (1 + 3) / 2
    assert found["word_perplexity"].value == pytest.approx(2 ** (11 / 3))
    assert found["bits_per_byte"].low < 11 / 9 < found["bits_per_byte"].high


def test_one_text_has_no_interval():
    only = perplexities([record(nats=8 * math.log(2), bytes=8, words=2)], None)["bits_per_byte"]
    assert (only.value, only.low, only.high) == (1.0, None, None)
    assert only.reason


def test_an_answer_after_a_prompt_has_the_perplexity_of_its_whole():
    found = perplexities([record(nats=1.0), record(nats=3.0)], None)
    assert list(found) == ["perplexity"]
    assert found["perplexity"].value == pytest.approx(math.exp(2.0))


def test_records_that_tell_no_nats_have_no_perplexity():
    assert perplexities([record(), record()], None) == {}


def test_a_text_file_is_one_text_and_its_row_shows_bits_and_no_accuracy(tmp_path):
    text = "Ein Fluß\r\nund noch einer\n"
    result = run_of(tmp_path, text, {"backend": "fake", "script": {"answers": [{"logprobs": [-20.0]}]}})
    (row,) = result.summary.rows
    size = len(text.encode())
    assert row.metrics["bits_per_byte"].value == pytest.approx(20 / math.log(2) / size)
    assert (row.asked.n, row.accuracy.value, row.difference) == (1, None, None)
    assert row.cost.usd_per_correct is None
    shown = terminal(result.summary)
    assert "novel · version 1 · texts scored" in shown
    assert "bits/byte" in shown and "bits_per_byte %" not in shown
    (record,) = result.records().to_dict("records")
    assert record["value"] == pytest.approx(math.exp(-20 / size))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "Read: {text}"}, "a perplexity task has no `prompt`"),
        ({"shots": {"n": 2}}, "a perplexity task has no `shots`"),
    ],
)
def test_a_perplexity_task_asks_nothing(tmp_path, changes, message):
    with pytest.raises(HarnessError, match=message):
        run_of(tmp_path, "text", {"backend": "fake"}, **changes)


def test_an_empty_text_file_holds_no_rows(tmp_path):
    with pytest.raises(HarnessError, match="no rows"):
        run_of(tmp_path, "", {"backend": "fake"})


def test_a_server_that_cannot_read_windows_is_named_before_the_run(tmp_path):
    server = {"backend": "openai", "api": "completions", "base_url": "http://127.0.0.1:9/v1"}
    with pytest.raises(HarnessError, match="needs the log-probability of given text, which m does not tell"):
        run_of(tmp_path, "text", server)


def test_check_shows_the_task_and_its_self_test_passes(tmp_path):
    (tmp_path / "novel.txt").write_text("In my younger and more vulnerable years")
    (tmp_path / "novel.yaml").write_text(yaml.safe_dump({**TASK, "data": {"file": "novel.txt"}}))
    shown = CliRunner().invoke(app, ["check", str(tmp_path / "novel.yaml")])
    assert shown.exit_code == 0, shown.output
    assert "vulnerable years" in shown.output


@pytest.mark.slow
@pytest.mark.shared
def test_a_novel_costs_what_the_peer_says_window_by_window(shared, tmp_path):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    text = (shared / "data/great_gatsby.txt").read_text(encoding="utf-8")[:EXCERPT]
    path = str(shared / "models/stories260K")
    result = run_of(tmp_path, text, {"path": path, "dtype": "fp32", "threads": 1})
    # The tokenizer opens every text with its own BOS; the window already does, and we judge no second one.
    peer = HFLM(pretrained=path, device="cpu", dtype="float32", batch_size=1, add_bos_token=False)
    asked = Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=0)
    (nats,) = peer.loglikelihood_rolling([asked], disable_tqdm=True)
    (record,) = result.records().to_dict("records")
    assert record["choice_logprobs"][0] == pytest.approx(nats, rel=1e-6)
    assert record["input_tokens"] == len(peer.tok_encode(text))
    assert record["input_tokens"] > 3 * peer.max_length  # really several windows
    found = result.summary.rows[0].metrics
    assert found["bits_per_byte"].value == pytest.approx(-nats / math.log(2) / len(text.encode()), rel=1e-6)


@pytest.mark.slow
@pytest.mark.shared
def test_the_windows_are_the_same_text_at_any_budget_and_by_the_plain_method(shared, tmp_path):
    text = (shared / "data/great_gatsby.txt").read_text(encoding="utf-8")[:EXCERPT]
    values = []
    for i, options in enumerate(({}, {"batch_tokens": 200}, {"engine": "plain"})):
        folder = tmp_path / str(i)
        folder.mkdir()
        model = {"path": str(shared / "models/stories260K"), "dtype": "fp32", **options}
        (record,) = run_of(folder, text, model).records().to_dict("records")
        values.append(record["choice_logprobs"][0])
    assert values == pytest.approx([values[0]] * 3, rel=1e-6)


def test_a_plan_asks_for_the_whole_text_at_once(tmp_path):
    (tmp_path / "novel.txt").write_text("x" * 10_000)
    (tmp_path / "novel.yaml").write_text(yaml.safe_dump({**TASK, "data": {"file": "novel.txt"}}))
    models, tasks = [{"name": "m", "backend": "fake"}], [str(tmp_path / "novel.yaml")]
    run = {"run": "t", "models": models, "tasks": tasks}
    (request,) = make_plan(validate(RunConfig, run, "test")).cells[0].requests
    assert (request.rolling, request.prompt.text, request.continuations) == (True, "", ("x" * 10_000,))
