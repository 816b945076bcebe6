"""A run whose answers a judge model scores: asked after the models, kept, believed as far as people agree, and paid."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from statsmodels.stats.inter_rater import cohens_kappa

import harness
from harness.analysis.run_summary import judged
from harness.api import Run
from harness.api import score as finish
from harness.api import verify as verified
from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import BackendError, ConfigError, HarnessError, PolicyError
from harness.reports import cost_text
from harness.runs.carry_out import carry_out
from harness.runs.check import report
from harness.runs.events import Finished, Judged, Started
from harness.runs.plan import make_plan
from harness.security.policy import PolicyConfig
from harness.security.seal import why_unsealed
from harness.stats import ppi_mean
from harness.store.rows import read_json, read_jsonl
from harness.store.schema import Egress, NoteCode
from harness.tasks.load import load_task
from harness.tasks.rubric import as_verdict
from tests.support.commands import harness as command
from tests.support.rows import said
from tests.support.servers import Reply, SyntheticServer
from tests.support.stopping import stopped_after

N = 40
# the judge likes answers that say thanks, cannot be read on "odd" ones, and fails on "mute" ones
JUDGE = [
    {"prompt": "odd answer", "text": "I had rather not say"},
    {"prompt": "mute answer", "error": "gone"},
    {"prompt": "many thanks", "text": '{"reason": "warm", "verdict": 5}'},
    {"text": '{"reason": "cold", "verdict": 2}'},
]
THANKS = [{"prompt": f"question {i}\\b", "text": "many thanks" if i % 4 else "no"} for i in range(N)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def write(folder: Path, rubric: dict[str, Any] | None = None, more: Any = None, **given: Any) -> None:
    rows = [{"id": f"q{i}", "q": f"question {i}", **(more(i) if more else {})} for i in range(N)]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"task": "t", "data": {"file": "t.jsonl", "id": "id"}, "kind": "generate", "prompt": "{q}"} | given
    (folder / "t.yaml").write_text(yaml.safe_dump(task | {"rubric": {"criteria": "Kind."} | (rubric or {})}))


def fake(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "backend": "fake", "script": list(rules)}


def config(folder: Path, *models: dict[str, Any], **changes: Any) -> RunConfig:
    given = {"run": "r", "tasks": [str(folder / "t.yaml")], "models": list(models) or [fake("m", *THANKS)]}
    given |= {"judge": fake("j", *JUDGE), "latency": {"requests": 0}}
    return validate(RunConfig, {k: v for k, v in (given | changes).items() if v is not None}, "test")


def run(folder: Path, *models: dict[str, Any], **changes: Any) -> Run:
    return harness.run(config(folder, *models, **changes), out=folder / "out")


def row(result: Run, model: str = "m") -> dict[str, Any]:
    return next(row for row in result.summary.rows if row.model == model)


def verdicts(folder: Path, out: str = "out") -> list[dict[str, Any]]:
    return read_jsonl(folder / out / "verdicts.jsonl")


# --- one answer


def test_a_judges_verdicts_are_the_scores(folder: Path):
    result = run(folder)
    assert result.complete and len(verdicts(folder)) == N
    assert row(result).accuracy.value == pytest.approx((30 * 1.0 + 10 * 0.25) / N)
    first = result.records().iloc[0]
    assert (first["answer"], first["value"]) == ("no", 0.25)
    assert first["verdicts"] == ['{"reason": "cold", "verdict": 2}']


def test_a_reply_that_cannot_be_read_leaves_the_answer_unscored_and_never_0(folder: Path):
    rules = [{"prompt": "question 3\\b", "text": "odd answer"}, {"prompt": "question 4\\b", "text": "mute answer"}]
    found = row(run(folder, fake("m", *rules, {"text": "many thanks"})))
    assert (found.asked.n, found.asked.failures) == (N - 2, {"unscored": 2})
    assert found.accuracy.value == 1.0


def test_a_reply_that_cannot_be_read_is_shown_on_one_line(folder: Path):
    reply = "**Verdict:**\n`pass`\x1b[2J <b>" + " well done" * 40
    result = run(folder, judge=fake("j", {"text": reply}))
    assert row(result).asked.failures == {"unscored": N} and row(result).judged.unreadable.n == N
    (note,) = [note for note in said(result.summary) if "no readable verdict" in note]
    assert note.startswith(
        f"m on t: {N} of {N} replies of the judge hold no readable verdict, such as `**Verdict:** 'pa"
    )
    assert note.endswith(" well done w…`.") and note.isprintable() and len(note) < 200
    write(folder, rubric={"criteria": "Read them."})
    read = harness.run(config(folder, judge=fake("j", {"text": '{"verdict": 5}'})), out=folder / "other")
    assert not [note for note in said(read.summary) if "no readable verdict" in note]


def test_a_judges_script_is_read_before_anything_is_asked(folder: Path):
    recorded = {"name": "j", "backend": "recorded", "script": {"file": str(folder / "t.jsonl"), "text": "reply"}}
    for judge, told in (
        (fake("j", {"txt": "5"}), "(?s)unknown key 'txt'.*script of j.*'text'"),
        (recorded, "no column 'reply'"),
    ):
        with pytest.raises(HarnessError, match=told):
            report(config(folder, judge=judge))
        with pytest.raises(HarnessError, match=told):
            run(folder, judge=judge)
    assert not (folder / "out").exists()


def test_what_is_no_answer_is_not_put_before_the_judge(folder: Path):
    rules = [{"prompt": "question 3\\b", "text": ""}, {"prompt": "question 4\\b", "error": "gone"}]
    found = row(run(folder, fake("m", *rules, {"text": "many thanks"})))
    assert found.asked.failures == {"no_answer": 1, "backend_error": 1}
    assert found.asked.n == N - 1 and len(verdicts(folder)) == N - 2


def test_one_text_is_judged_once_for_all_models_that_wrote_it(folder: Path):
    result = run(folder, fake("m", *THANKS), fake("twin", *THANKS), fake("other", {"text": "no"}))
    assert len(verdicts(folder)) == N + 30  # "no" is also what the first says to ten questions
    assert row(result).accuracy == row(result, "twin").accuracy
    assert row(result, "other").judged.verdicts == N and result.summary.judge.verdicts == N + 30


def test_scorers_of_the_task_stand_beside_the_verdict(folder: Path):
    write(folder, more=lambda i: {"a": "thanks"}, answer="a", score=["contains", "exact_match"])
    found = row(run(folder))
    assert found.metrics["contains"].value == 0.75 and found.metrics["exact_match"].value == 0.0


# --- kept


def test_scoring_again_and_verifying_need_no_judge_no_model_and_no_data(folder: Path):
    result = run(folder)
    for name in ("t.jsonl", "t.yaml"):
        (folder / name).unlink()
    before = result.summary
    (folder / "out" / "records.jsonl").unlink()
    assert finish(folder / "out").summary == before
    found = verified(folder / "out")
    assert found.ok and "40 of 40 responses and 40 verdicts unbroken" in found.says


@pytest.mark.parametrize("change", [lambda t: t.replace("warm", "Warm", 1), lambda t: "".join(t.splitlines(True)[:-1])])
def test_a_verdict_that_was_changed_or_cut_off_is_found(folder: Path, change: Any):
    run(folder)
    path = folder / "out" / "verdicts.jsonl"
    path.write_text(change(path.read_text()))
    found = verified(folder / "out")
    assert not found.ok and "verdicts.jsonl" in found.says
    path.unlink()
    found = verified(folder / "out")
    assert not found.ok and "verdicts.jsonl: it is missing" in found.says


@pytest.mark.usefixtures("one_by_one")
def test_a_run_stopped_while_it_is_judged_says_what_is_owed_and_goes_on_without_asking_twice(folder: Path):
    plan = make_plan(config(folder))
    stopped_after(carry_out(plan, folder / "out"), N + 7)
    half = finish(folder / "out")
    assert not half.complete and row(half).judged.owed == N - 7
    assert any("INCOMPLETE: m on t: 33 of 40 verdicts of the judge are owed" in n for n in said(half.summary))
    assert half.resumable
    assert row(half).asked.n == 7
    first, *judged, last = carry_out(plan, folder / "out")
    cell = ("judge j", "t")
    assert (first, last) == (Started(cell, "verdicts", N - 7), Finished(cell, "verdicts"))
    assert [(type(event), event.cell) for event in judged] == [(Judged, cell)] * (N - 7)
    whole = finish(folder / "out")
    assert whole.complete and row(whole).asked.n == N
    keys = [line["key"] for line in verdicts(folder)]
    assert len(keys) == len(set(keys)) == N
    assert list(carry_out(plan, folder / "out")) == []


def test_another_judge_is_another_plan(folder: Path):
    digest = make_plan(config(folder)).digest
    assert make_plan(config(folder)).digest == digest
    assert make_plan(config(folder, judge=fake("j", {"text": "5"}))).digest != digest
    write(folder, {"criteria": "Curt."})
    assert make_plan(config(folder)).digest != digest


# --- pairs


def pairs(folder: Path, *rules: dict[str, Any]) -> Run:
    write(folder, {"against": "baseline"})
    return run(folder, fake("base", {"text": "dull"}), fake("m", *THANKS), judge=fake("j", *rules))


def test_a_judge_that_takes_whatever_stands_first_decides_nothing_and_is_found_out(folder: Path):
    result = pairs(folder, {"text": "[[A]]"})
    found = row(result)
    assert found.accuracy.value == 0.5 and len(verdicts(folder)) == 2 * N
    told = found.judged.both_orders
    assert (told.pairs, told.consistent.value, told.first, told.second) == (N, 0.0, N, 0)
    assert any("it preferred the first 40 times, the second 0 times" in note for note in said(result.summary))


def test_the_better_answer_wins_in_both_orders(folder: Path):
    kind_first = {"prompt": r"(?s)Answer A:[^A]*many thanks.*Answer B:", "text": "[[A]]"}
    kind_second = {"prompt": r"(?s)Answer B:.*many thanks", "text": "[[B]]"}
    result = pairs(folder, kind_first, kind_second, {"text": "[[tie]]"})
    found = row(result)
    assert found.accuracy.value == pytest.approx((30 + 10 * 0.5) / N)
    assert found.judged.both_orders.consistent.value == 1.0
    assert row(result, "base").accuracy.value == 0.5 and row(result, "base").judged.verdicts == 0
    assert found.difference.estimate.value == pytest.approx(30 / N - 0.5 + 10 * 0.5 / N)


def test_a_baseline_that_says_nothing_is_an_answer_and_one_that_fails_is_none(folder: Path):
    write(folder, {"against": "baseline"})
    rules = [{"prompt": "question 1\\b", "text": ""}, {"prompt": "question 2\\b", "error": "gone"}, {"text": "dull"}]
    result = run(folder, fake("base", *rules), fake("m", {"text": "hi"}), judge=fake("j", {"text": "tie"}))
    assert row(result).asked.failures == {"unscored": 1} and row(result).asked.n == N - 1
    assert len(verdicts(folder)) == 2 * (N - 1)
    assert sum("(no answer)" in line["prompt"] for line in verdicts(folder)) == 2


# --- people


def people(n: int, says: Any = lambda i: 5 if i % 4 else 2) -> Any:
    """Verdicts of people on what the model will say to the first `n` questions."""
    return lambda i: {"said": "many thanks" if i % 4 else "no", "people": says(i) if i < n else None}


LABELLED = {"human": "people", "of": "said"}


def test_without_peoples_verdicts_a_judged_score_carries_a_warning(folder: Path):
    result = run(folder)
    assert "†" in result.table() and "WARNING †: t is scored by a judge model: nobody has checked" in result.table()
    assert row(result).judged.agreement is None


def test_too_few_of_them_are_told_and_the_warning_stays(folder: Path):
    write(folder, LABELLED, people(12))
    result = run(folder)
    assert row(result).judged.agreement.n == 12
    assert "only 12 texts that people judged too" in result.table() and "†" in result.table()


def test_enough_of_them_take_the_warning_away(folder: Path):
    write(folder, LABELLED, people(N, lambda i: 5 if i % 4 or i == 8 else 2))
    result = run(folder)
    agreed = row(result).judged.agreement
    assert (agreed.n, agreed.raw.value) == (N, 39 / 40)
    assert 0.6 < agreed.kappa.low < agreed.kappa.value < 1 and "†" not in result.table()
    assert "agrees with people on 97.5 % [" in result.table().replace("\n", " ")
    assert len(verdicts(folder)) == N  # what people judged is what the model said: nothing more is asked


def test_a_judge_no_better_than_chance_is_told(folder: Path):
    write(folder, LABELLED, people(N, lambda i: 5 if i % 2 else 2))
    result = run(folder)
    assert row(result).judged.agreement.kappa.low > 0  # "no" to every fourth: half of it is right
    write(folder, LABELLED, people(N, lambda i: 5 if i % 8 < 4 else 2))
    result = harness.run(config(folder), out=folder / "chance")
    assert "agrees with people no better than chance would" in result.table().replace("\n", " ")


def test_texts_of_others_that_people_judged_test_the_judge_and_correct_no_mean(folder: Path):
    write(folder, LABELLED, lambda i: {"said": f"many thanks {i}", "people": 5 if i % 3 else 2})
    result = run(folder)
    assert len(verdicts(folder)) == 2 * N
    assert row(result).judged.agreement.raw.value == pytest.approx(26 / N)
    assert row(result).judged.corrected is None


def test_pairs_that_people_judged_test_the_judge_of_pairs(folder: Path):
    pairs = {"human": "people", "of": ["first", "second"], "against": "baseline"}
    told = ["A", "B", "tie"]

    def more(i: int) -> dict[str, Any]:
        kind = ["many thanks", "no"] if i % 3 == 0 else ["no", "many thanks"] if i % 3 == 1 else ["no", "no"]
        return {"first": kind[0], "second": kind[1], "people": told[i % 3] if i != 4 else "tie"}

    write(folder, pairs, more)
    kind_first = {"prompt": r"(?s)Answer A:[^A]*many thanks.*Answer B:", "text": "[[A]]"}
    kind_second = {"prompt": r"(?s)Answer B:.*many thanks", "text": "[[B]]"}
    models = [fake("base", {"text": "dull"}), fake("m", {"text": "many thanks"})]
    result = run(folder, *models, judge=fake("j", kind_first, kind_second, {"text": "[[tie]]"}))
    agreed = row(result).judged.agreement
    assert (agreed.n, agreed.raw.value) == (N, 39 / 40) and agreed.kappa.method == "cohen kappa"
    assert row(result).judged.warning is None and row(result).judged.corrected is None
    assert len(verdicts(folder)) == 2 * N + 2 * N


def test_the_mean_is_corrected_by_the_labels_of_some_answers(folder: Path):
    write(folder, LABELLED, people(20, lambda i: 4 if i % 4 else 1))
    result = run(folder)
    human = [0.75 if i % 4 else 0.0 for i in range(20)]
    by_judge = [1.0 if i % 4 else 0.25 for i in range(N)]
    wanted = ppi_mean(human, by_judge[:20], by_judge[20:])
    found = row(result).judged.corrected
    told = found.estimate
    assert (told.value, told.low, told.high) == (wanted.value, wanted.low, wanted.high)
    assert found.labels == 20 and told.value < row(result).accuracy.value
    assert "if those are a uniform random draw" in result.table().replace("\n", " ")


# --- what it takes


def test_a_judge_on_this_machine_is_paid_by_its_seconds_and_added_to_the_run(folder: Path):
    result = run(folder, machine="cloud-cpu")
    judge, machine = result.summary.judge, result.summary.machine
    lines = read_jsonl(folder / "out" / "measurements.jsonl")
    (line,) = [line for line in lines if line["kind"] == "pass" and line["model"] == "judge j"]
    assert judge.usd == pytest.approx(line["wall_s"] / 3600 * machine.usd_per_hour / machine.config.utilisation)
    assert judge.usd_with_models == pytest.approx(judge.usd + row(result).cost.usd)
    assert judge.input_tokens == line["input_tokens"] > 40 * N
    assert "judge" not in str(row(result).cost)


def test_harness_cost_tells_what_judging_took_apart_from_the_rows(folder: Path):
    run(folder, machine="cloud-cpu")
    found = harness.cost_of(folder / "out")
    assert found.judge is not None and found.judge.usd > 0
    assert "Judge j: 40 verdicts, tokens in and out" in cost_text.text(found)


@pytest.mark.slow
def test_a_judge_in_this_process_is_held_to_the_form_of_a_verdict(folder: Path):
    write(folder, {"prompt": "{answer}\n{reply}\n", "scale": {"poor": 0, "good": 1}, "max_tokens": 400})
    judge = {"name": "local", "path": "demo-0.1m", "threads": 1}
    result = run(folder, judge=judge, first=2)
    told = [json.loads(text) for (text,) in result.records().verdicts]
    assert all(set(one) == {"reason", "verdict"} and one["verdict"] in {"poor", "good"} for one in told)
    assert row(result).asked.n == 2 and row(result).asked.failures == {}


@pytest.mark.slow
def test_a_judge_at_a_server_is_asked_for_a_form_and_paid_by_its_tokens(folder: Path):
    with SyntheticServer(Reply(text='{"reason": "", "verdict": 3}', tokens=4, input_tokens=1000)) as server:
        judge = {"name": "far", "backend": "openai", "base_url": server.url, "price": {"input": 1.0, "output": 10.0}}
        result = run(folder, judge=judge)
        schema = server.bodies[-1]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["verdict"] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert row(result).accuracy.value == 0.5
    assert result.summary.judge.usd == pytest.approx(N * (1000 * 1.0 + 4 * 10.0) / 1e6)
    assert result.summary.judge.usd_with_models is None  # the model's own cost is unknown: so is the whole
    assert result.summary.spent.by_model == {"judge far": pytest.approx(result.summary.judge.usd)}
    assert "Paid $0.0416 to providers in all" in result.table()
    assert row(result).left_machine.hosts == ()  # it is on loopback


@pytest.mark.slow
def test_a_spend_limit_binds_the_judge_too_and_what_it_left_is_owed(folder: Path):
    with SyntheticServer(Reply(text="[[3]]", tokens=4, input_tokens=1000)) as server:
        price = {"input": 1.0, "output": 10.0}
        judge = {
            "name": "far",
            "backend": "openai",
            "base_url": server.url,
            "price": price,
            "limits": {"concurrency": 1},
        }
        result = run(folder, judge=judge, max_cost=0.02)
        paid = result.summary.judge.usd
        assert 0.01 < paid <= 0.02 and not result.complete
        assert any("INCOMPLETE: m on t" in n and "verdicts of the judge are owed" in n for n in said(result.summary))
        assert any("Judge far: the spend limit is reached" in note for note in said(result.summary))
        asked = len(server.bodies)
        run(folder, judge=judge, max_cost=0.02)
        assert len([body for body in server.bodies[asked:] if body]) == 0  # the limit is of the run, not of a sitting


def test_a_spend_limit_on_a_judge_without_a_price_is_refused_before_anything_is_asked(folder: Path):
    with pytest.raises(BackendError, match="price"):
        run(folder, judge=AWAY, max_cost=1.0)
    assert not (folder / "out").exists()


def test_what_a_judge_may_cost_is_told_before_the_run(folder: Path):
    write(folder, LABELLED, people(12), max_tokens=10)
    judge = AWAY | {"price": {"input": 1.0, "output": 10.0}}
    (told,) = report(config(folder, fake("m", *THANKS), fake("n", *THANKS), judge=judge)).spending
    assert told.model == "judge far" and told.requests == 2 * N + 12
    result = run(folder, fake("m", *THANKS), fake("n", *THANKS))
    shortest = min(len(line["prompt"]) for line in verdicts(folder))
    assert told.low_usd > (2 * N + 12) * shortest / 5 * 1e-6 and told.low_usd < told.high_usd < told.most_usd
    assert result.complete


@pytest.mark.slow
def test_a_verdict_that_failed_for_the_moment_is_asked_again_and_paid_for_both_times(folder: Path):
    replies = [Reply(status=500)]
    with SyntheticServer(lambda order, body: replies[-1] if body else Reply()) as server:
        judge = {"name": "far", "backend": "openai", "base_url": server.url, "limits": {"attempts": 1}}
        first = run(folder, judge=judge)
        assert row(first).asked.failures == {"unscored": N} and not first.complete
        assert "40 of 40 verdicts of the judge ended in an error" in first.table().replace("\n", " ")
        replies.append(Reply(text="[[5]]"))
        second = run(folder, judge=judge)
    assert second.complete and row(second).accuracy.value == 1.0
    assert len(verdicts(folder)) == 2 * N and verified(folder / "out").ok


def test_what_it_cost_is_unknown_where_it_is_not_known(folder: Path):
    result = run(folder)
    assert result.summary.judge.usd is None
    assert "at an unknown cost" in result.table()


# --- where data go

AWAY = {"name": "far", "backend": "openai", "base_url": "https://judge.example.com/v1"}


def test_a_restricted_task_and_a_judge_elsewhere_are_refused_at_check_and_at_run(folder: Path):
    write(folder, sensitivity="restricted")
    wanted = config(folder, judge=AWAY, allow_egress=["judge.example.com"])  # no setting overrides it
    for refused in (lambda: report(wanted), lambda: harness.run(wanted, out=folder / "out")):
        with pytest.raises(PolicyError) as caught:
            refused()
        assert "task 't' is restricted" in str(caught.value) and "judge far is asked at judge.exam" in str(caught.value)
    assert not (folder / "out").exists()
    assert make_plan(config(folder)).judge is not None  # one on this machine may


def test_an_internal_task_needs_the_judges_host_by_name(folder: Path):
    write(folder, sensitivity="internal")
    with pytest.raises(PolicyError, match=r"allow_egress: \[judge.example.com\]"):
        make_plan(config(folder, judge=AWAY))
    assert make_plan(config(folder, judge=AWAY, allow_egress=["judge.example.com"])).judge is not None


def test_a_judge_elsewhere_never_sees_a_restricted_task_that_it_does_not_score(folder: Path):
    secret = {"task": "s", "data": {"file": "t.jsonl", "id": "id"}, "kind": "generate", "prompt": "{q}", "answer": "q"}
    (folder / "s.yaml").write_text(yaml.safe_dump(secret | {"sensitivity": "restricted"}))
    assert make_plan(config(folder, judge=AWAY, tasks=[str(folder / "t.yaml"), str(folder / "s.yaml")])).cells


def test_a_judge_elsewhere_unseals_the_run_and_is_told_before_it(folder: Path):
    wanted = config(folder, judge=AWAY)
    assert why_unsealed(wanted) == "judge far is asked at judge.example.com" and why_unsealed(config(folder)) == ""
    found = report(wanted)
    assert "judge far: runs on judge.example.com; sent: every answer it judges, with its question" in found.text()
    assert found.as_json()["judge"]["leaves_the_machine"].endswith("to judge.example.com")
    rules = PolicyConfig.model_validate({"policy": "p", "egress": {"public": ["api.example.com"]}})
    assert report(wanted, rules).breaks == ("model far: public data (task t) may not go to judge.example.com",)


@pytest.mark.slow
def test_the_table_tells_what_went_to_the_judge(folder: Path, monkeypatch):
    monkeypatch.setattr("harness.security.egress.is_loopback", lambda host: False)  # as if it were elsewhere
    with SyntheticServer(Reply(text="[[4]]")) as server:
        judge = {"name": "far", "backend": "openai", "base_url": server.url, "allow_http": True}
        result = run(folder, judge=judge)
        sent = sum(len(body["messages"][0]["content"].encode()) for body in server.bodies if body)
    assert row(result).left_machine == Egress(("127.0.0.1",), 1.0, sent)
    assert "100 % of samples" in result.table() and "judge at 127.0.0.1" in result.table("markdown")


# --- in a run file


def test_a_run_that_needs_a_judge_and_names_none_is_refused_before_anything_is_written(folder: Path):
    with pytest.raises(ConfigError, match="task 't' is scored by a judge model, and the run names none"):
        harness.run(config(folder, judge=None), out=folder / "out")
    assert not (folder / "out").exists()
    assert "judge: none named" in report(config(folder, judge=None)).text()


def test_pairs_need_another_model_to_compare_with(folder: Path):
    write(folder, {"against": "baseline"})
    with pytest.raises(ConfigError, match="compares answers with the baseline's, and the run has one model"):
        run(folder)
    assert not (folder / "out").exists()
    text = report(config(folder)).text()
    assert "(the baseline's answer)" in text and "the same with A and B in the other order" in text


@pytest.mark.slow
def test_only_responses_may_be_written_down_without_a_judge(folder: Path):
    result = run(folder, judge=None, responses_only=True)
    assert row(result).asked.failures == {"unscored": N} and row(result).accuracy.value is None
    assert row(result).judged is None and "†" not in result.table()


def test_a_judge_with_nothing_to_judge_is_refused(folder: Path):
    task = {"task": "s", "data": {"file": "t.jsonl"}, "kind": "generate", "prompt": "{q}", "answer": "q"}
    (folder / "s.yaml").write_text(yaml.safe_dump(task))
    with pytest.raises(ConfigError, match="judge 'j' has nothing to judge"):
        make_plan(config(folder, tasks=[str(folder / "s.yaml")]))


def test_a_judge_is_named_as_a_model_is_or_as_one_of_them(folder: Path):
    assert config(folder, judge="demo-2m").judge.path == "demo-2m"
    models = [fake("m", *THANKS), fake("also", {"text": "3"})]
    assert config(folder, *models, judge="also").judge == config(folder, *models).models[1]
    result = run(folder, *models, judge="also")
    assert any("also on t: it judged its own answers" in note for note in said(result.summary))


@pytest.mark.slow
def test_the_judge_may_be_named_on_the_command_line(folder: Path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    models = [fake("m", *THANKS), fake("strict", {"text": "1"})]
    given = {"run": "r", "tasks": ["t.yaml"], "models": models, "latency": {"requests": 0}}
    (folder / "run.yaml").write_text(yaml.safe_dump(given))
    code, _, err = command(capsys, "run", "run.yaml", "--out", "out")
    assert code == 2 and "--judge MODEL" in err
    code, out, _ = command(capsys, "run", "run.yaml", "--out", "out", "--judge", "strict")
    assert code == 0 and "How far the judge is to be believed" in out and "judged by strict (this machine)" in out
    code, out, _ = command(capsys, "check", "run.yaml", "--judge", "demo-0.1m")
    assert code == 0 and "judge demo-0.1m: runs on this machine; nothing leaves this machine; 80 verdicts" in out
    assert command(capsys, "verify", "out")[0] == 0 and command(capsys, "score", "out")[0] == 0


def test_check_shows_what_the_judge_is_asked_and_whether_people_judged(folder: Path):
    write(folder, LABELLED, lambda i: people(12)(i) | {"a": "thanks"}, answer="a")
    text = report(config(folder)).text()
    for part in ("judged by a model, which is asked of sample q0", "| Kind.", "| thanks", "'said'", "of 12 samples"):
        assert part in text, part
    assert "judge j: runs on this machine; nothing leaves this machine; 52 verdicts at most" in text
    assert report(config(folder)).passed
    local = report(config(folder, judge="demo-0.1m"))
    (tokens,) = [one for one in local.tokens if one.model == "judge demo-0.1m" and one.counted == N]
    assert tokens.longest > 100 and f"tokens for judge demo-0.1m: prompt median {tokens.median}" in local.text()


# --- the tasks that ship with the package


def bundled(task: str, out: Path, models: list[dict[str, Any]], judge: dict[str, Any], **use: Any) -> Run:
    given = {"run": "r", "tasks": [{"task": task, **use}], "models": models, "judge": judge, "latency": {"requests": 0}}
    return harness.run(validate(RunConfig, given, "test"), out=out)


def test_support_replies_are_judged_and_the_judge_is_tested_on_replies_whose_verdict_is_known(tmp_path: Path):
    task = load_task(TaskUse(task="support-replies"))
    told = {sample.row["reply"]: sample.row["verdict"] for sample in task.samples}
    assert sorted(told.values()) == ["fail"] * 18 + ["pass"] * 18
    judges = [
        {"prompt": f"(?s)judge:\n=== \\w+ ===\n{re.escape(reply)}\n", "text": word} for reply, word in told.items()
    ]
    judge = fake("j", *judges, {"text": "pass"})
    gold = [{"sample": sample.id, "text": sample.row["good"]} for sample in task.samples]
    result = bundled("support-replies", tmp_path / "gold", [fake("m", *gold)], judge)
    assert row(result).accuracy.value == 1.0  # what is right is worth 1
    assert row(result).judged.agreement.raw.value == 1.0 and row(result).judged.warning is None
    blind = bundled("support-replies", tmp_path / "blind", [fake("m", *gold)], fake("j", {"text": "pass"}))
    assert row(blind).judged.agreement.raw.value == 0.5
    assert row(blind).judged.warning.code is NoteCode.AGREEMENT_BY_CHANCE
    wrong = [{"sample": sample.id, "text": sample.row["reply"]} for sample in task.samples]
    result = bundled("support-replies", tmp_path / "known", [fake("m", *wrong)], judge)
    assert row(result).accuracy.value == 0.5 and row(result).judged.corrected.labels == 36


MT_BENCH = [
    {"question_id": 1, "category": "math", "turns": ["Add 2 and 3.", "Double it."], "reference": ["5", "10"]},
    {"question_id": 2, "category": "writing", "turns": ["Write a line.", "Another."]},
]


def test_both_turns_of_mt_bench_are_scored_each_after_what_was_said_before_it(tmp_path: Path):
    file = tmp_path / "question.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in MT_BENCH))
    models = [fake("m", {"prompt": "Double it", "text": "ten"}, {"text": "five"})]
    judge = fake("j", {"prompt": r"(?s)to score:\n=== \w+ ===\nten", "text": "[[10]]"}, {"text": "[[4]]"})
    result = bundled("mt-bench", tmp_path / "run", models, judge, data=str(file))
    asked = [line["prompt"] for line in verdicts(tmp_path / "run", "")]
    assert len(asked) == 4
    second = next(text for text in asked if "[user] Double it." in text)
    assert "[user] Add 2 and 3.\n\n[assistant] five\n\n[user] Double it.\n===" in second
    assert "To question 1: 5\n\nTo question 2: 10" in second
    first = next(text for text in asked if "Add 2 and 3." in text and "Double it." not in text)
    assert "[assistant]" not in first
    values = result.records().set_index("sample_id").value
    assert list(values) == [pytest.approx((1 / 3 + 1.0) / 2), pytest.approx(1 / 3)]
    assert result.records().verdicts[0] == ["[[4]]", "[[10]]"]
    assert verified(result.folder).ok


def test_a_turn_without_a_verdict_leaves_the_conversation_unscored(tmp_path: Path):
    file = tmp_path / "question.jsonl"
    file.write_text(json.dumps(MT_BENCH[0]) + "\n")
    judge = fake("j", {"prompt": "Double it", "text": "well"}, {"text": "[[4]]"})
    result = bundled("mt-bench", tmp_path / "run", [fake("m", {"text": "x"})], judge, data=str(file))
    assert row(result).asked.failures == {"unscored in turn 2": 1} and row(result).asked.n == 0


@pytest.mark.shared
def test_mt_bench_shows_the_judge_80_real_questions_with_the_notes_of_30(shared: Path):
    use = {"task": "mt-bench", "data": str(shared / "data/mt_bench_questions.jsonl")}
    plan = {"run": "r", "tasks": [use], "models": [fake("m", {"text": "x"})], "judge": fake("j", {"text": "[[5]]"})}
    found = report(validate(RunConfig, plan, "test"))
    assert found.passed and "judge j: runs on this machine; nothing leaves this machine; 160 verdicts" in found.text()
    (task,) = found.plan.tasks
    assert len(task.samples) == 80 and {sample.scored for sample in task.samples} == {(1, 2)}
    assert sum(sample.row["notes"] != "None are given." for sample in task.samples) >= 30


# --- published verdicts of a judge and of people

PUBLISHED = [("gpt4", 0.936), ("mistralguard", 0.767)]
COMPLIANCE = {"1_full_compliance": 1, "2_full_refusal": 0, "3_partial_refusal": 0.5}


def xstest(shared: Path, folder: Path, model: str, labels: int = 450) -> Run:
    """A run of recorded answers and a recorded judge, with the verdicts of people on the first `labels` rows drawn."""
    with (shared / f"data/scored_outputs/xstest_{model}_labelled.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for place, i in enumerate(sorted(range(len(rows)), key=lambda i: (i * 7919) % 10007)):
        rows[i]["people"] = rows[i]["final_label"] if place < labels else ""
    with (folder / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    rubric = {"criteria": "Does it do what was asked?", "scale": COMPLIANCE, "human": "people", "of": "completion"}
    task = {"task": "t", "data": {"file": "answers.csv", "id": "id"}, "kind": "generate", "prompt": "{prompt}"}
    task |= {"answer": "strmatch_label", "score": "refusal", "rubric": rubric}
    (folder / "t.yaml").write_text(yaml.safe_dump(task))
    file = str(folder / "answers.csv")
    models = [
        {"name": name, "backend": "recorded", "script": {"file": file, "text": column}}
        for name, column in (("m", "completion"), ("j", "gpt4_label"))
    ]
    return harness.run(config(folder, models[0], judge=models[1]), out=folder / f"out{labels}")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("model", "published"), PUBLISHED)
def test_the_published_agreement_of_gpt4_with_people_on_xstest_comes_out_again(
    shared: Path, tmp_path: Path, model: str, published: float
):
    result = xstest(shared, tmp_path, model)
    agreed = row(result).judged.agreement
    assert agreed.n == 450 and agreed.raw.value == pytest.approx(published, abs=5e-4)
    task = load_task(TaskUse(task=str(tmp_path / "t.yaml")))
    names, counts = list(COMPLIANCE), [[0] * 3 for _ in range(3)]
    for sample in task.samples:
        counts[names.index(sample.row["gpt4_label"])][names.index(sample.row["final_label"])] += 1
    theirs = cohens_kappa(counts)
    assert (agreed.kappa.value, agreed.kappa.stderr) == pytest.approx((theirs.kappa, theirs.std_kappa))
    assert row(result).judged.warning is None
    # the string match of the same run says what was published, row by row
    refused = [metrics["refused"] for metrics in result.records().metrics]
    assert refused == [float(sample.row["strmatch_label"] == "2_full_refusal") for sample in task.samples]


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("model", "published"), PUBLISHED)
def test_a_third_of_the_labels_brings_the_judged_mean_back_to_peoples(
    shared: Path, tmp_path: Path, model: str, published: float
):
    result = xstest(shared, tmp_path, model, 150)
    task = load_task(TaskUse(task=str(tmp_path / "t.yaml")))
    truth = sum(COMPLIANCE[as_verdict(task.config.judged_by, s.row["final_label"])] for s in task.samples) / 450
    found, naive = row(result).judged.corrected, row(result).accuracy
    assert found.labels == 150 and found.estimate.low < truth < found.estimate.high
    assert abs(found.estimate.value - truth) < abs(naive.value - truth)
    assert judged(result.folder) and read_json(result.folder / "plan.json")["judge"]["name"] == "j"
