"""A run from plan to table with the scripted model: resumed, refused, killed, judged again, verified."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.analysis.facts import RunFacts, by_cell
from harness.analysis.merge import merged
from harness.analysis.run_summary import judged_run
from harness.analysis.summary import summarise
from harness.analysis.usage import usage_of
from harness.api import folder_for, open_run
from harness.api import score as finish
from harness.api import verify as verified
from harness.backends import load
from harness.config.base import validate
from harness.config.run import RunConfig
from harness.cost.prices import Price
from harness.errors import ConfigError, ModelError, StoreError
from harness.measure.other_work import Bystanders
from harness.reports import formats, tables
from harness.reports.notes import sentence
from harness.runs.carry_out import carry_out
from harness.runs.plan import Plan, choose, make_plan
from harness.store.lines import read_attempt_lines, read_measurements
from harness.store.schema import Note, NoteCode, Row, Subject
from harness.tasks.load import load_task
from harness.values import Billing
from tests.support.chains import rechain
from tests.support.rows import difference, said
from tests.support.stopping import stopped_after

TASK = """
task: sums
data: {file: sums.jsonl, id: id}
kind: generate
prompt: "{q}="
answer: a
stop: ["\\n"]
extract: number
"""
COLOURS = """
task: colours
data: {file: colours.jsonl}
kind: choice
prompt: "The colour of {thing} is"
choices: [red, green, blue]
answer: colour
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks of our own, and scripts that get some of their samples right."""
    sums = [{"id": f"s{i}", "q": f"{i}+{i}", "a": str(2 * i)} for i in range(12)]
    things = [{"thing": thing, "colour": colour} for thing, colour in [("grass", "green"), ("sky", "blue")] * 5]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sums))
    (tmp_path / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in things))
    (tmp_path / "sums.yaml").write_text(TASK)
    (tmp_path / "colours.yaml").write_text(COLOURS)
    rules = [{"sample": f"s{i}", "text": f" it is {2 * i}" if i % 3 else " no idea"} for i in range(12)]
    rules += [{"prompt": "grass", "text": "green"}, {"prompt": "sky", "text": "red"}]
    (tmp_path / "good.yaml").write_text(json.dumps({"answers": rules}))
    (tmp_path / "slow.yaml").write_text(json.dumps({"answers": rules, "sleep_s": 0.002}))
    broken = [{"sample": "s3", "error": "connection lost"}, {"sample": "s4", "text": "7 8 9"}, *rules]
    (tmp_path / "broken.yaml").write_text(json.dumps({"answers": broken}))
    return tmp_path


def config(folder: Path, *scripts: str, **changes: Any) -> RunConfig:
    names = scripts or ("good",)
    models = [{"name": name, "backend": "fake", "script": str(folder / f"{name}.yaml")} for name in names]
    tasks = [str(folder / "sums.yaml"), str(folder / "colours.yaml")]
    return validate(RunConfig, {"run": "r", "tasks": tasks, "models": models} | changes, "test")


def row(result: harness.Run, model: str, task: str) -> Row:
    return next(row for row in result.summary.rows if (row.model, row.task) == (model, task))


def test_a_run_gives_each_sample_a_record_and_each_cell_a_row(folder: Path):
    result = harness.run(config(folder, "good", "broken", machine="cloud-cpu", max_errors=0.1), out=folder / "out")
    assert result.complete
    assert len(result.records()) == 2 * (12 + 10)
    good = row(result, "good", "sums")
    assert good.asked.n == 12 and good.accuracy.value == pytest.approx(8 / 12)
    assert good.asked.failures == {"no_answer": 4}
    assert row(result, "good", "colours").accuracy.value == 0.5
    broken = row(result, "broken", "sums")
    assert (broken.asked.n, broken.asked.failures["backend_error"]) == (11, 1)  # left out of the mean, and counted
    assert broken.difference.estimate.n == 11
    # of the eleven samples both have a value for, "7 8 9" is wrong where the other is right
    assert broken.difference.estimate.value == pytest.approx(-1 / 11)
    assert good.cost.usd_per_correct > 0
    assert good.latency.n == 20 and good.latency.e2e_p50.value > 0  # 12 prompts, sent again up to 20
    assert good.energy.joules is None and good.energy.reason


class Joules:
    """A counter that moves by two joules between two readings."""

    method = "rapl_package"

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> dict[str, float]:
        self.now += 2.0
        return {"package-0": self.now}

    def turns_at(self, device: str) -> None:
        return None

    def describe(self) -> dict[str, Any]:
        return {}


def test_joules_of_the_pass_are_shared_over_samples_and_right_answers(folder: Path, monkeypatch):
    for module in ("answers", "device"):
        monkeypatch.setattr(f"harness.runs.{module}.counters_of", lambda backend: ((Joules(),), None))
    monkeypatch.setattr("harness.runs.device.idle_watts", lambda counters: 0.0)
    laptop = {"name": "l", "source": "s", "date": "2026-11-20", "grid_g_per_kwh": 360_000}
    owned = {"price": 1000, "years": 4, "watts": 45, "power_price": 0.3, "pue": 1.5}
    result = harness.run(config(folder, machine={**laptop, "owned": owned}), out=folder / "out")
    energy = row(result, "good", "sums").energy
    assert (energy.idle_watts, energy.net_joules, energy.carbon_g) == (0.0, 2.0, pytest.approx(0.3))
    (note,) = [note for note in said(result.summary) if "good on sums" in note and " J " in note]
    assert "2 J by rapl_package, 100 % of it above rest, 0.3 g CO2" in note and "0.25 J a correct answer" in note
    assert (energy.method, energy.joules, energy.reason) == ("rapl_package", 2.0, None)
    assert energy.j_per_sample == pytest.approx(2 / 12)
    assert energy.j_per_correct == pytest.approx(2 / 8)


def test_few_prompts_are_not_sent_again_and_again_for_a_median(folder: Path):
    result = harness.run(config(folder, first=4), out=folder / "out")
    latency = row(result, "good", "sums").latency
    assert latency.n == 4 and latency.e2e_p50.value is None


def test_latencies_measured_beside_other_work_say_so_once_below_the_table(folder: Path, monkeypatch):
    busy = Bystanders(others=0.43, stolen=0.0)
    monkeypatch.setattr("harness.runs.latency.between", lambda before, after, served_here: busy)
    result = harness.run(config(folder), out=folder / "out")
    assert row(result, "good", "sums").latency.bystanders == busy
    (note,) = [note for note in said(result.summary) if "other work" in note]
    assert "up to 43 %" in note and "(good on sums; good on colours)" in note
    assert note.split(" while")[0] in " ".join(result.table().split())


def test_latencies_measured_alone_or_never_or_before_this_was_noted_have_no_warning(folder: Path, monkeypatch):
    unknown = Bystanders()
    monkeypatch.setattr("harness.runs.latency.between", lambda before, after, served_here: Bystanders(others=0.01))
    result = harness.run(config(folder), out=folder / "out")
    file = folder / "out" / "measurements.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    old = [{key: value for key, value in line.items() if key != "bystanders"} for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in old))
    rechain(folder / "out")
    before_it = finish(folder / "out")
    never = harness.run(config(folder, latency={"requests": 0}), out=folder / "never")
    assert row(before_it, "good", "sums").latency.bystanders == unknown
    assert row(never, "good", "sums").latency.bystanders == unknown
    for one in (result, before_it, never):
        assert not [note for note in said(one.summary) if "other work" in note]


def test_references_say_what_guessing_scores(folder: Path):
    references = harness.run(config(folder), out=folder / "out").summary.references
    assert {(r.name, r.task): r.value for r in references} == {
        ("chance", "colours"): pytest.approx(1 / 3),
        ("majority", "colours"): 0.5,
    }


def test_without_a_machine_cost_is_unknown_and_the_notes_say_how_to_set_one(folder: Path):
    result = harness.run(config(folder), out=folder / "out")
    assert row(result, "good", "sums").cost.usd_per_1k_samples is None
    assert any("--machine" in note for note in said(result.summary))


def test_the_parts_of_the_cost_sum_to_seconds_times_price(folder: Path):
    result = harness.run(config(folder, machine="cloud-cpu"), out=folder / "out")
    machine = result.summary.machine
    for found in result.summary.rows:
        bill = found.throughput.wall_s / 3600 * machine.usd_per_hour / machine.config.utilisation
        assert found.cost.input_usd + found.cost.output_usd == pytest.approx(bill, rel=1e-9)
        per_sample = bill / found.throughput.samples * 1000
        assert found.cost.usd_per_1k_samples == pytest.approx(per_sample, rel=1e-9)


def test_the_subset_of_a_limit_is_seeded_nested_and_the_same_for_every_model(folder: Path):
    plans = {n: make_plan(config(folder, "good", "slow", limit=n)) for n in (3, 6, 12, 99)}
    chosen = {n: [[s.id for s in cell.samples] for cell in plan.cells] for n, plan in plans.items()}
    assert chosen[3][0] == chosen[3][2] and len(chosen[3][0]) == 3
    assert set(chosen[3][0]) < set(chosen[6][0]) < set(chosen[12][0]) and chosen[12][0] == chosen[99][0]
    task = load_task(config(folder).tasks[0])
    assert [s.id for s in choose(task, config(folder, limit=3, seed=1))] != chosen[3][0]
    assert [s.id for s in choose(task, config(folder, first=3))] == ["s0", "s1", "s2"]


def test_what_could_change_an_answer_changes_the_digest(folder: Path):
    digest = make_plan(config(folder)).digest
    assert make_plan(config(folder)).digest == digest
    assert make_plan(config(folder, machine="h100", latency={"requests": 0})).digest == digest
    assert make_plan(config(folder, seed=1)).digest != digest
    assert make_plan(config(folder, limit=5)).digest != digest
    assert make_plan(config(folder, "slow")).digest != digest
    edits = [("sums.yaml", "number", "text"), ("sums.jsonl", '"22"', '"23"'), ("good.yaml", "red", "blue")]
    for file, old, new in edits:
        text = (folder / file).read_text()
        (folder / file).write_text(text.replace(old, new))
        assert make_plan(config(folder)).digest != digest, file
        (folder / file).write_text(text)


def test_another_plan_may_not_write_into_the_folder(folder: Path):
    harness.run(config(folder), out=folder / "out")
    with pytest.raises(StoreError) as caught:
        harness.run(config(folder, seed=5), out=folder / "out")
    assert "seed" in str(caught.value)


def test_a_finished_run_asks_nothing_again(folder: Path):
    harness.run(config(folder), out=folder / "out")
    before = (folder / "out" / "responses.jsonl").read_bytes()

    def refuse(model: Any) -> Any:
        raise AssertionError("a model was loaded")

    assert list(carry_out(make_plan(config(folder)), folder / "out", refuse)) == []
    assert (folder / "out" / "responses.jsonl").read_bytes() == before


def test_an_unfinished_run_of_the_same_plan_is_gone_on_with(folder: Path):
    plan = make_plan(config(folder))
    root = folder / "results"
    first = folder_for(plan, None, root)
    stopped_after(carry_out(plan, first), 2)
    assert folder_for(plan, None, root) == first
    assert folder_for(make_plan(config(folder, seed=1)), None, root) != first
    for _ in carry_out(plan, first):
        pass
    finish(first)
    assert folder_for(plan, None, root) != first


@pytest.mark.usefixtures("one_by_one")
def test_an_incomplete_run_says_so_and_is_not_complete(folder: Path):
    stopped_after(carry_out(make_plan(config(folder)), folder / "out"), 5)
    result = finish(folder / "out")
    assert not result.complete
    assert any(note.startswith("INCOMPLETE: good on sums: 5 of 12") for note in said(result.summary))


def test_two_runs_may_not_write_into_one_folder(folder: Path):
    events = carry_out(make_plan(config(folder)), folder / "out")
    next(events)
    with pytest.raises(StoreError, match="writing"):
        next(carry_out(make_plan(config(folder)), folder / "out"))
    events.close()


def test_judging_again_needs_neither_model_nor_data(folder: Path):
    summary = harness.run(config(folder), out=folder / "out").summary
    made = ("records.jsonl", "summary.json", "table.md", "manifest.json")
    before = {name: (folder / "out" / name).read_bytes() for name in made}
    for name in ("sums.jsonl", "sums.yaml", "colours.jsonl", "colours.yaml", "good.yaml"):
        (folder / name).unlink()
    for name in before:
        (folder / "out" / name).unlink()
    opened = open_run(folder / "out").summary
    assert opened.rows == summary.rows and opened.notes == summary.notes
    assert not any((folder / "out" / name).exists() for name in before)  # reading writes nothing
    assert finish(folder / "out").summary == summary
    assert {name: (folder / "out" / name).read_bytes() for name in before} == before


def test_verify_finds_a_changed_response_and_a_changed_record(folder: Path):
    harness.run(config(folder), out=folder / "out")
    assert verified(folder / "out").ok
    records = (folder / "out" / "records.jsonl").read_text()
    (folder / "out" / "records.jsonl").write_text(records.replace('"value":0.0', '"value":1.0', 1))
    found = verified(folder / "out")
    assert not found.ok and "records.jsonl" in found.says
    (folder / "out" / "records.jsonl").write_text(records)
    lines = (folder / "out" / "responses.jsonl").read_text().split("\n")
    lines[6] = lines[6].replace("no idea", "it is 12")
    (folder / "out" / "responses.jsonl").write_text("\n".join(lines))
    found = verified(folder / "out")
    assert not found.ok and found.broken_line == 7


def test_a_response_nobody_planned_stops_the_judging(folder: Path):
    harness.run(config(folder), out=folder / "out")
    samples = (folder / "out" / "samples.jsonl").read_text().split("\n", 1)[1]
    (folder / "out" / "samples.jsonl").write_text(samples)
    with pytest.raises(StoreError, match="does not follow what it stands on"):
        finish(folder / "out")
    rechain(folder / "out")
    with pytest.raises(StoreError, match="is of no planned sample"):
        finish(folder / "out")


def test_versions_of_a_task_are_never_in_one_table(folder: Path):
    first = harness.run(config(folder), out=folder / "one")
    (folder / "sums.yaml").write_text(TASK + "version: 2\n")
    second = harness.run(config(folder, "slow"), out=folder / "two")
    with pytest.raises(StoreError, match="version 1 in one run and 2 in another"):
        merged([first.summary, second.summary], ["one", "two"])
    assert [r.model for r in merged([first.summary, first.summary], ["one", "one"]).rows] == ["good"] * 4


def test_in_a_table_of_several_runs_each_row_and_note_is_told_from_those_of_the_others(folder: Path):
    first = harness.run(config(folder), out=folder / "one").summary
    own = Note(NoteCode.SAMPLES_OWED, "info", Subject("slow"), {"asked": 1, "expected": 2})
    second = replace(first, notes=(*first.notes, own))
    text = formats.terminal(merged([first, second], ["results/one", "results/two"]))
    assert "good [1]" in text and "good [2]" in text
    notes = text.splitlines()[-3:]
    assert notes == [
        "[2] " + sentence(second.notes[-1]),
        "[1]: results/one (baseline good)",
        "[2]: results/two (baseline good)",
    ]
    rows = tuple(replace(one, model="better", difference=difference(0.1)) for one in first.rows)
    third = replace(first, baseline="worse", rows=rows)
    both = merged([first, third], ["results/one", "results/three"])
    text = formats.terminal(both)
    assert {row.mark for row in both.rows} == {""} and "vs its run's baseline" in tables.quality(both).columns
    assert text.splitlines()[-2:] == ["[1]: results/one (baseline good)", "[2]: results/three (baseline worse)"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"machine": "h10"}, ConfigError, "did you mean 'h100'"),
        ({"models": [{"name": "x", "backend": "scirpted"}]}, ConfigError, "did you mean 'scripted'"),
        ({"models": [{"name": "x"}]}, ConfigError, "path` is missing|path' is missing"),
        ({"models": ["no/such/folder"]}, ModelError, "no model"),
        ({"tasks": ["mmul"]}, ConfigError, "did you mean 'mmlu'"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_before_anything_is_written(
    folder: Path, changes: dict[str, Any], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        harness.run(config(folder, **changes), out=folder / "out")
    assert not (folder / "out").exists()


def test_a_task_may_stand_only_once_in_a_run(folder: Path):
    with pytest.raises(ConfigError, match="'sums' stands twice"):
        make_plan(config(folder, tasks=[str(folder / "sums.yaml")] * 2))


def _answers(path: Path) -> list[tuple]:
    lines = [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]
    return sorted((r["model"], r["task"], r["sample_id"], r["text"], r["answer"], r["value"]) for r in lines)


def _child(plan: Plan, out: Path) -> int:
    """Starts a process that carries out the plan and exits; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            for _ in carry_out(plan, out, load):
                pass
        finally:
            os._exit(0)
    return child


@pytest.mark.slow
def test_killed_100_times_every_sample_is_there_exactly_once(folder: Path, monkeypatch):
    monkeypatch.setattr("harness.runs.plan.git_state", lambda: None)  # on a busy machine git alone outlasts the child
    plan = make_plan(config(folder, "good", "slow", latency={"requests": 2, "warmup": 0}))
    whole = folder / "whole"
    for _ in carry_out(plan, whole):
        pass
    wanted = _answers(finish(whole).folder)
    rng, kills, runs = random.Random(0), 0, 0
    while kills < 100:
        out, runs = folder / f"run{runs}", runs + 1
        finished = False
        while not finished:
            child = _child(plan, out)
            time.sleep(rng.uniform(0, 0.15))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            killed = os.WIFSIGNALED(status)
            kills += killed
            finished = not killed
        assert _answers(finish(out).folder) == wanted
        assert verified(out).ok
    assert runs >= 1


def test_epochs_draw_several_answers_and_reduce_them(folder: Path):
    (folder / "sums.yaml").write_text(TASK + "epochs: 3\nreduce: majority\n")
    result = harness.run(config(folder), out=folder / "out")
    found = row(result, "good", "sums")
    assert (found.asked.n, found.asked.responses) == (12, 36)
    assert found.accuracy.value == pytest.approx(8 / 12)  # the scripted model says the same each time
    assert found.metrics["pass@3"].value == found.metrics["pass^3"].value == pytest.approx(8 / 12)
    assert len({request.key for cell in make_plan(config(folder)).cells for request in cell.requests}) == 36 + 10


PRICED = Price(provider="x", model="y", input=1.5, output=6.0, source="z", retrieved=date(2026, 1, 1))


def test_answers_of_a_provider_cost_what_it_charged_and_not_machine_seconds(folder: Path):
    harness.run(config(folder, machine="h100"), out=folder / "out")
    run = judged_run(folder / "out")
    entry = replace(run.plan.models["good"], where="api.example.com", price=PRICED)
    plan = replace(run.plan, models={**run.plan.models, "good": entry})
    measured = tuple(read_measurements(folder / "out"))
    log = [
        replace(line, billing=Billing(0.02, 0.02)) for line in read_attempt_lines(folder / "out" / "responses.jsonl")
    ]

    def found() -> Row:
        facts = RunFacts(plan, run.samples, by_cell(run.records), measured, usage_of(log), run.heard)
        return summarise(facts).rows[0]

    first = found()
    cost, characters = first.cost, first.tokens.input_characters + first.tokens.output_characters
    assert (cost.usd_per_1m_input, cost.usd_per_1m_output) == (1.5, 6.0)
    assert cost.usd == pytest.approx(0.24) and cost.usd_per_1k_samples == pytest.approx(0.24 / 12 * 1000)
    assert cost.usd_per_correct == pytest.approx(0.24 / 8)
    assert characters > 12 * 5 and cost.usd_per_1m_characters == pytest.approx(0.24 / characters * 1e6)
    log[0] = replace(log[0], billing=Billing())
    cost = found().cost
    assert cost.usd_per_1k_samples is None and "usd" in cost.reasons


@pytest.mark.usefixtures("one_by_one")
def test_a_run_names_no_place_of_this_machine_and_goes_on_from_another_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    wanted = config(folder)
    stopped_after(carry_out(make_plan(wanted), Path("out")), 5)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("sums.yaml", "sums.jsonl", "colours.yaml", "colours.jsonl", "good.yaml"):
        shutil.copy(folder / name, elsewhere / name)
    monkeypatch.chdir(elsewhere)
    there = config(Path("."))  # the same files, under other paths
    result = harness.run(there, out=folder / "out")
    assert result.complete
    assert verified(folder / "out").ok and finish(folder / "out").table() == result.table()
    for file in (folder / "out").iterdir():
        assert str(folder) not in file.read_text(), file.name
    plan = json.loads((folder / "out" / "plan.json").read_text())
    assert plan["config"]["models"][0]["script"] == "good.yaml" and plan["data"]["sums"]["origin"] == "sums.jsonl"


def test_other_answers_under_the_same_path_are_another_run(folder: Path):
    plan = make_plan(config(folder))
    (folder / "good.yaml").write_text(json.dumps({"answers": [{"text": "9"}]}))
    assert make_plan(config(folder)).digest != plan.digest
