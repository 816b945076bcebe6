"""What a run must keep before it may begin: a seal for restricted data, and a house's policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.api import prepare, prepare_bench
from harness.cli import app
from harness.config.base import validate
from harness.config.model import model_of
from harness.config.run import RunConfig
from harness.errors import ConfigError, HarnessError, PolicyError
from harness.models.openness import describe, with_stated
from harness.security.seal import Seal
from harness.store.lines import read_plan

TASK = """task: letters
sensitivity: LEVEL
data: {file: letters.jsonl}
kind: generate
prompt: "{q}="
answer: a
max_tokens: 5
"""
HERE = {"name": "here", "backend": "scripted"}
NEAR = {"name": "near", "backend": "openai", "base_url": "http://127.0.0.1:9/v1"}
SILENT = {"name": "silent", "backend": "transformers"}
POLICY = """policy: ours
licences: [apache-2.0]
commercial: yes
formats: [safetensors]
remote_code: false
max_sensitivity: internal
"""
KERNEL, NONE = Seal("kernel"), Seal("none", "switched off by --no-seal")
NO_LINUX = Seal("none", "Darwin has no seal", "run it on Linux")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("letters.jsonl").write_text("".join(json.dumps({"q": f"ä{i}", "a": "b"}) + "\n" for i in range(4)))
    Path("restricted.yaml").write_text(TASK.replace("LEVEL", "restricted"))
    Path("public.yaml").write_text(TASK.replace("LEVEL", "public"))
    Path("ours.yaml").write_text(POLICY)
    return tmp_path


def config(*models: dict[str, Any], task: str = "restricted.yaml", **changes: Any) -> RunConfig:
    values = {"run": "r", "tasks": [task], "models": list(models or (HERE,)), "latency": {"requests": 0}}
    return validate(RunConfig, values | changes, "run.yaml")


def test_restricted_data_is_asked_only_under_a_seal(place: Path):
    prepare(config(), KERNEL, "out")
    for unsealed in (NONE, NO_LINUX):
        with pytest.raises(PolicyError, match="task 'letters' is restricted, and nothing would keep the data") as said:
            prepare(config(), unsealed, "out")
        assert unsealed.reason in said.value.what and "here" in said.value.where
    assert said.value.fix == "run it on Linux"
    for level in ("public", "internal"):
        use = [{"task": "public.yaml", "sensitivity": level}]
        prepare(config(tasks=use), NONE, "out")
    assert not Path("out").exists()


def test_a_task_that_the_run_raises_to_restricted_is_held_to_it_too(place: Path):
    with pytest.raises(PolicyError, match="restricted"):
        prepare(config(tasks=[{"task": "public.yaml", "sensitivity": "restricted"}]), NONE, "out")


@pytest.mark.slow
def test_engines_on_this_machine_may_be_asked_without_one_if_the_run_names_the_task(place: Path):
    with pytest.raises(PolicyError) as said:
        prepare(config(NEAR), NONE, "out")
    assert "accept_unsealed: [letters]" in said.value.fix
    prepare(config(NEAR, accept_unsealed=["letters"]), NONE, "out")
    for refused in (config(NEAR, accept_unsealed=["others"]), config(NEAR, HERE, accept_unsealed=["letters"])):
        with pytest.raises(PolicyError):  # another task, or a model that runs here and needs no network
            prepare(refused, NONE, "out")
    with pytest.raises(PolicyError):
        prepare(config(accept_unsealed=["letters"]), NONE, "out")


def test_a_benchmark_and_python_are_held_to_the_same(place: Path):
    with pytest.raises(PolicyError, match="restricted"):
        prepare_bench(config(bench={"requests": 2}), NONE, "out")
    prepare_bench(config(bench={"requests": 2}), KERNEL, "out")
    for call in (harness.run, harness.bench):
        with pytest.raises(PolicyError, match="seal=True"):
            call(config(), out="out")
    assert not Path("out").exists()


@pytest.mark.parametrize("command", ["run", "bench"])
def test_the_command_line_refuses_before_anything_is_written(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    Path("run.yaml").write_text("run: r\ntasks: [restricted.yaml]\nmodels: [{name: here, backend: scripted}]\n")
    monkeypatch.setattr("sys.argv", ["harness", command, "run.yaml", "--no-seal", "--out", "out"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2 and "switched off by --no-seal" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_run_that_breaks_its_policy_is_refused_before_anything_is_loaded(place: Path):
    with pytest.raises(PolicyError, match="the run breaks policy ours: task letters: restricted") as said:
        prepare(config(policy="ours.yaml"), KERNEL, "out")
    assert "check --policy" in said.value.fix
    Path("strict.yaml").write_text("policy: strict\nrequire_seal: true\n")
    with pytest.raises(PolicyError, match="could not be sealed: switched off"):
        prepare(config(task="public.yaml", policy="strict.yaml"), NONE, "out")
    assert not Path("out").exists()
    with pytest.raises(ConfigError, match="no policy 'nobody'"):
        prepare(config(policy="nobody"), KERNEL, "out")


def test_a_run_that_keeps_its_policy_says_so_in_its_plan_and_below_its_table(place: Path):
    result = harness.run(config(task="public.yaml"), policy="ours.yaml", out="out")
    kept = read_plan(Path("out")).policy
    assert kept is not None and kept.name == "ours" and "max_sensitivity: at most public" in kept.verdicts
    text = " ".join(result.table().split())
    assert "Policy ours was kept (" in text and kept.digest[:16] in text
    assert harness.verify("out").ok
    Path("ours.yaml").write_text(POLICY + "require_seal: false\negress: {public: []}\n")
    with pytest.raises(HarnessError, match=r"begun under another plan: policy was"):
        harness.run(config(task="public.yaml"), policy="ours.yaml", out="out")


def test_a_benchmark_keeps_its_policy_too(place: Path):
    with pytest.raises(PolicyError, match="breaks policy ours"):
        prepare_bench(config(bench={"requests": 2}, policy="ours.yaml"), KERNEL, "out")
    made = prepare_bench(config(task="public.yaml", bench={"requests": 2}, policy="ours.yaml"), KERNEL, "out")
    assert made.plan.policy is not None and made.plan.policy.name == "ours"


def test_check_shows_the_policy_that_the_run_file_names(place: Path):
    found = harness.check(config(policy="ours.yaml"))
    assert found.breaks == ("task letters: restricted, and internal is the most that may be run here",)


def folder_of(place: Path, card: str) -> Path:
    folder = place / "weights"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "README.md").write_text(card)
    return folder


def test_a_licence_can_be_stated_where_the_folder_is_silent_and_is_marked(place: Path):
    folder = folder_of(place, "no front matter\n")
    stated = {"licence": "apache-2.0", "provenance": "maker", "accepted_by": "Jo Doe"}
    entry = model_of(**SILENT, path=str(folder), **stated)
    found = with_stated(describe(folder), entry)
    assert (found.licence, found.commercial, found.publisher) == ("apache-2.0", "yes", "maker")
    assert found.reason.endswith("(stated in the run file, accepted by Jo Doe)")
    assert with_stated(describe(folder), model_of(**SILENT, path=str(folder))) == describe(folder)
    assert entry.settings() == model_of(**SILENT, path=str(folder)).settings()  # it changes no answer


def test_a_stated_licence_that_the_folder_contradicts_is_an_error(place: Path):
    folder = folder_of(place, "---\nlicense: mit\n---\n")
    with pytest.raises(ConfigError, match=r"declare the licence mit, and its entry states apache-2\.0"):
        with_stated(describe(folder), model_of(**SILENT, path=str(folder), licence="apache-2.0"))
    assert with_stated(describe(folder), model_of(**SILENT, path=str(folder), licence="MIT")).licence == "mit"


def test_what_is_stated_of_a_server_counts_for_a_policy_and_stands_below_the_table(place: Path):
    told = {**NEAR, "licence": "apache-2.0", "provenance": "maker"}
    rules = "policy: p\nlicences: [apache-2.0]\ncommercial: yes\npublishers: [maker]\n"
    Path("p.yaml").write_text(rules)
    made = prepare(config(told, task="public.yaml", policy="p.yaml"), KERNEL, "out").plan
    assert made.policy is not None and "licences: near apache-2.0 (stated)" in made.policy.verdicts
    assert "commercial: near yes" in made.policy.verdicts and "publishers: near maker" in made.policy.verdicts
    for wrong in ({"licence": "cc-by-nc-4.0"}, {"provenance": "others"}):
        with pytest.raises(PolicyError, match="stated"):
            prepare(config({**told, **wrong}, task="public.yaml", policy="p.yaml"), KERNEL, "out")
    with pytest.raises(PolicyError, match="cannot be told"):
        prepare(config(NEAR, task="public.yaml", policy="p.yaml"), KERNEL, "out")
    stated = {**HERE, "licence": "apache-2.0", "accepted_by": "Jo Doe"}
    text = " ".join(harness.run(config(stated, task="public.yaml"), out="stated").table().split())
    assert "Stated in the run file, not read from the files of here: licence apache-2.0, accepted by Jo Doe." in text
