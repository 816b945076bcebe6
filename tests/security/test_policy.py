"""Sensitive data and models elsewhere: refused in one plan, allowed by name, and told in the table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.api import score as finish
from harness.backends import about
from harness.backends.base import ModelCard
from harness.cli import app
from harness.config.base import validate
from harness.config.model import read_model
from harness.config.run import RunConfig, TaskUse
from harness.config.task import TaskConfig
from harness.errors import ConfigError, PolicyError, TaskError
from harness.models.openness import describe
from harness.reports import tables
from harness.runs.carry_out import carry_out
from harness.runs.plan import make_plan
from harness.security.egress import HERE
from harness.security.policy import PolicyConfig, Used, broken, read_policy, refuse_egress
from harness.store.schema import Egress
from harness.tasks.kinds import task_from
from harness.values import Billing, PaidAttempt, Response
from tests.support.chains import rechain

TASK = """task: letters
sensitivity: SENSITIVITY
data: {file: letters.jsonl}
kind: generate
prompt: "{q}="
answer: a
"""
AWAY = {
    "name": "far",
    "backend": "openai",
    "base_url": "https://api.example.com/v1",
    "price": {"input": 1, "output": 1},
}
NEAR = {"name": "near", "backend": "openai", "base_url": "http://127.0.0.1:8000/v1", "price": {"input": 1, "output": 1}}


def config(folder: Path, sensitivity: str, *models: dict[str, Any], **changes: Any) -> RunConfig:
    (folder / "letters.jsonl").write_text("".join(json.dumps({"q": f"ä{i}", "a": "b"}) + "\n" for i in range(10)))
    (folder / "letters.yaml").write_text(TASK.replace("SENSITIVITY", sensitivity))
    values = {
        "run": "r",
        "tasks": [str(folder / "letters.yaml")],
        "models": [{"name": "here", "backend": "fake"}, *models],
    }
    return validate(RunConfig, values | {"latency": {"requests": 0}} | changes, "run.yaml")


def test_a_restricted_task_and_a_model_elsewhere_are_refused_in_one_plan(tmp_path: Path):
    with pytest.raises(PolicyError) as caught:
        make_plan(config(tmp_path, "restricted", AWAY))
    said = str(caught.value)
    assert "task 'letters' is restricted" in said and "model far is asked at api.example.com" in said
    assert "no setting overrides this" in said


def test_no_setting_lets_a_restricted_task_out(tmp_path: Path):
    with pytest.raises(PolicyError, match="restricted"):
        make_plan(config(tmp_path, "restricted", AWAY, allow_egress=["api.example.com"]))
    with pytest.raises(PolicyError, match="restricted"):
        make_plan(config(tmp_path, "restricted", AWAY | {"allow_http": True, "base_url": "http://10.0.0.1/v1"}))


@pytest.mark.parametrize("lower", ["public", "internal"])
def test_a_run_cannot_lower_the_sensitivity_of_a_task(tmp_path: Path, lower: str):
    wanted = config(tmp_path, "restricted", AWAY)
    use = TaskUse(task=wanted.tasks[0].task, sensitivity=lower)
    with pytest.raises(TaskError, match=f"'restricted' cannot be lowered to '{lower}'"):
        make_plan(wanted.model_copy(update={"tasks": (use,)}))


def test_a_run_can_raise_the_sensitivity_of_a_task(tmp_path: Path):
    wanted = config(tmp_path, "public", AWAY)
    use = TaskUse(task=wanted.tasks[0].task, sensitivity="restricted")
    with pytest.raises(PolicyError, match="restricted"):
        make_plan(wanted.model_copy(update={"tasks": (use,)}))


def test_internal_data_go_only_to_hosts_that_the_run_file_names(tmp_path: Path):
    with pytest.raises(PolicyError) as caught:
        make_plan(config(tmp_path, "internal", AWAY, allow_egress=["api.example.org"]))
    assert "the run does not allow api.example.com" in str(caught.value)
    assert "allow_egress: [api.example.com]" in str(caught.value)
    assert make_plan(config(tmp_path, "internal", AWAY, allow_egress=["api.example.com"])).cells


@pytest.mark.parametrize("sensitivity", ["public", "internal", "restricted"])
def test_models_on_this_machine_may_see_everything(tmp_path: Path, sensitivity: str):
    wanted = config(tmp_path, sensitivity, NEAR)
    plan = make_plan(wanted)
    refuse_egress({model.config.name: model.place for model in plan.models}, [task.config for task in plan.tasks], ())


def test_an_allowed_host_is_a_name_and_no_address_with_scheme(tmp_path: Path):
    with pytest.raises(ConfigError, match="allow_egress"):
        config(tmp_path, "internal", AWAY, allow_egress=["https://api.example.com/v1"])


class Asked:
    """A server that answers `b`, the second request at the third attempt."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answer(self, requests: Any) -> Any:
        for i, request in enumerate(requests):
            tries = (PaidAttempt("answered", None),) * (3 if i == 1 else 1)
            paid = Billing(attempts=tries)
            yield Response(request.key, None, text="b", finish_reason="stop", billing=paid)

    def describe(self) -> ModelCard:
        return ModelCard(self.name, "scripted", "this machine")

    def close(self) -> None:
        pass


@pytest.fixture
def somebody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes every server for one that is there: what is loaded here asks none."""
    monkeypatch.setattr("harness.runs.carry_out.refuse_absent", lambda config: None)


@pytest.mark.usefixtures("somebody_there")
def test_the_table_tells_what_left_the_machine(tmp_path: Path):
    plan = make_plan(config(tmp_path, "internal", AWAY, allow_egress=["api.example.com"]))
    for _ in carry_out(plan, tmp_path / "out", lambda model: Asked(model.name)):
        pass
    summary = finish(tmp_path / "out").summary
    here, far = summary.rows
    assert here.left_machine == Egress((), 0.0, 0)
    # ten prompts of four bytes ("ä0=": two, one, one), one of them sent three times
    assert far.left_machine == Egress(("api.example.com",), 1.0, 48)
    assert (here.place.name, far.place.name) == ("this machine", "api.example.com")
    columns = tables.quality(summary).columns
    assert columns[-2:] == ("runs on", "leaves the machine")
    ((_, rows),) = tables.quality(summary).groups
    assert [row[-2:] for row in rows[:2]] == [("local", "nothing"), ("api.example.com", "100 % of samples, 0.0 kB")]


@pytest.mark.usefixtures("somebody_there")
def test_bytes_are_unknown_where_a_sitting_was_killed(tmp_path: Path):
    plan = make_plan(config(tmp_path, "public", AWAY))
    steps = carry_out(plan, tmp_path / "out", lambda model: Asked(model.name))
    for _ in steps:
        pass
    file = tmp_path / "out" / "measurements.jsonl"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if '"pass"' not in line))
    rechain(tmp_path / "out")
    assert finish(tmp_path / "out").summary.rows[1].left_machine.bytes is None


def test_the_column_is_there_only_when_something_leaves(tmp_path: Path):
    for _ in carry_out(make_plan(config(tmp_path, "restricted")), tmp_path / "out"):
        pass
    assert tables.quality(finish(tmp_path / "out").summary).columns[-1] == "runs on"


# --- a house's own rules ---------------------------------------------------------------------------------------------


def rules(**values: Any) -> PolicyConfig:
    return validate(PolicyConfig, {"policy": "house"} | values, "policy.yaml")


def used(folder: Path, card: str = "license: apache-2.0", **changes: Any) -> Used:
    """A model with a card, as a policy sees it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    values = {"name": folder.name, "path": str(folder)} | changes
    files = ("config.json", "model.safetensors")
    return Used(read_model(values, "run.yaml"), files, describe(folder), HERE)


def task(sensitivity: str) -> TaskConfig:
    values = {"task": "letters", "data": {"file": "x.csv"}, "kind": "generate", "prompt": "{q}", "answer": "a"}
    return task_from(values | {"sensitivity": sensitivity}, "t.yaml")


def far(**changes: Any) -> Used:
    config = read_model(AWAY | changes, "run.yaml")
    return Used(config, (), None, about(config).place(config))


def test_a_policy_without_rules_is_kept_by_anything(tmp_path: Path):
    assert broken(rules(), [used(tmp_path / "m", "x: y"), far()], [task("restricted")], "no seal here") == ()


@pytest.mark.parametrize(
    ("rule", "card", "breaks"),
    [
        ({"licences": ["apache-2.0"]}, "license: Apache-2.0", []),
        ({"licences": ["apache-2.0"]}, "license: gemma", ["model m: licence gemma is not among those allowed"]),
        ({"licences": ["apache-2.0"]}, "a: b", ["model m: licence unknown is not among those allowed"]),
        (
            {"licences": ["apache-2.0"]},
            "license: apache-2.0\nbase_model: x/base",
            ["model m: licence unknown (of x/base, which it was made from) is not among those allowed"],
        ),
        ({"commercial": "conditional"}, "license: gemma", []),
        ({"commercial": "conditional"}, "license: mrl", ["model m: commercial use is no: Mistral research licence"]),
        ({"commercial": "yes"}, "license: gemma", ["model m: commercial use is conditional: Gemma terms"]),
        ({"commercial": "conditional"}, "a: b", ["model m: commercial use is unknown: no licence is declared"]),
        ({"publishers": ["us"]}, "publisher: us", []),
        ({"publishers": ["us"]}, "publisher: them", ["model m: publisher them is not among those allowed"]),
        ({"publishers": ["us"]}, "a: b", ["model m: publisher unknown is not among those allowed"]),
        ({"formats": ["safetensors"]}, "a: b", []),
        ({"formats": ["gguf"]}, "a: b", ["model m: model.safetensors is in a format that is not allowed"]),
    ],
)
def test_a_model_that_breaks_a_rule_is_named(tmp_path: Path, rule: dict[str, Any], card: str, breaks: list[str]):
    found = broken(rules(**rule), [used(tmp_path / "m", card)], [])
    assert len(found) == len(breaks)
    assert all(line.startswith(start) for line, start in zip(found, breaks)), found


def test_code_of_a_models_own_breaks_a_policy_that_forbids_it(tmp_path: Path):
    model = used(tmp_path / "m", trust_remote_code=True)
    assert broken(rules(), [model], []) == ()
    assert broken(rules(remote_code=False), [model], []) == ("model m: it runs code of its own (trust_remote_code)",)


def test_hosts_are_allowed_by_level_of_sensitivity():
    policy = rules(egress={"public": ["api.example.com"]})
    assert broken(policy, [far()], [task("public")]) == ()
    said = "model far: internal data (task letters) may not go to api.example.com"
    assert broken(policy, [far()], [task("internal")]) == (said,)


def test_a_server_whose_weights_cannot_be_seen_must_be_named():
    policy = rules(licences=["mit"], publishers=["us"])
    said = ("model far: its licences, publishers cannot be told: it is asked at a server",)
    assert broken(policy, [far()], []) == said
    assert broken(rules(licences=["mit"], egress={"public": ["api.example.com"]}), [far()], []) == ()


def test_tasks_above_a_level_may_not_be_run():
    said = ("task letters: restricted, and internal is the most that may be run here",)
    assert broken(rules(max_sensitivity="internal"), [], [task("restricted"), task("internal")]) == said


def test_a_run_that_cannot_be_sealed_breaks_a_policy_that_requires_it():
    assert broken(rules(require_seal=True), [], [], "") == ()
    assert broken(rules(require_seal=True), [], [], "why") == ("the run could not be sealed: why",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy: x\nlicenses: [mit]", "unknown key 'licenses'\n.*\n.*did you mean 'licences'"),
        ("policy: x\nlicences: [mti]", "no licence 'mti' in our table; did you mean 'mit'"),
        ("policy: x\ncommercial: always", "commercial"),
        ("policy: x\negress: {secret: []}", "egress"),
        ("licences: [mit]", "key 'policy' is missing"),
    ],
)
def test_a_policy_file_with_a_mistake_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_policy(str(tmp_path / "p.yaml"))


def test_a_policy_that_is_not_there_is_told_with_the_near_name():
    with pytest.raises(ConfigError, match=r"(?s)no policy 'sovreign'.*did you mean 'sovereign'"):
        read_policy("sovreign")


def test_check_names_what_breaks_the_policy_and_leaves_with_one(tmp_path: Path, capsys, monkeypatch):
    config(tmp_path, "public")
    (tmp_path / "p.yaml").write_text("policy: house\nmax_sensitivity: public\n")
    task_file = str(tmp_path / "letters.yaml")

    def check(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(
            sys, "argv", ["harness", "check", task_file, "--policy", str(tmp_path / "p.yaml"), *arguments]
        )
        try:
            app.main()
        except SystemExit as stop:
            return stop.code or 0, capsys.readouterr().out
        return 0, capsys.readouterr().out

    code, said = check()
    assert code == 0 and said.endswith("policy house: kept\n")
    config(tmp_path, "internal")
    code, said = check()
    assert code == 1
    assert "policy house: BROKEN 1 times\n  task letters: internal, and public is the most" in said
    code, said = check("--json")
    assert code == 1 and len(json.loads(said)["policy"]["breaks"]) == 1


def test_the_bundled_policy_is_kept_by_an_open_model_and_broken_by_a_closed_one(tmp_path: Path):
    policy = read_policy("sovereign")
    assert broken(policy, [used(tmp_path / "m")], [task("public")]) == ()
    assert len(broken(policy, [used(tmp_path / "n", "license: gemma"), far()], [task("public")], "why")) == 5
