"""What a new user gets wrong first, and what is said of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.cli import app
from harness.config.assemble import Additions, assemble
from harness.config.machine import read_machine
from harness.config.model import hub_id, model_from_path
from harness.errors import ConfigError, ModelError
from harness.models.find import resolve_model
from harness.tasks.catalogue import file_of


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    argv, sys.argv = sys.argv, ["harness", *arguments]
    try:
        with pytest.raises(SystemExit) as stop:
            app.main()
    finally:
        sys.argv = argv
    told = capsys.readouterr()
    return int(stop.value.code or 0), told.out, told.err


@pytest.mark.parametrize("name", ["a100", "H100x", "my-box"])
def test_an_unknown_machine_lists_those_that_are_known(name: str):
    with pytest.raises(ConfigError, match=r"known: cloud-cpu, h100, h200, l4, laptop; or give a machine file"):
        read_machine(name)


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        *(("gpt-5-mini", "openai"), ("gpt-4.1-nano", "openai"), ("o4-mini", "openai"), ("openai/gpt-9", "openai")),
        *(("claude-opus-9", "anthropic"), ("anthropic/claude-3-5-x-latest", "anthropic"), ("gemini-9-pro", "google")),
    ],
)
def test_a_model_of_a_provider_is_not_looked_for_on_the_hub(name: str, provider: str):
    with pytest.raises(ModelError, match=f"no model folder(.|\n)*backend: {provider}"):
        resolve_model(name)


@pytest.mark.parametrize("name", ["m.gguf", "weights/M-Q4.GGUF", "org/model-GGUF"])
def test_a_gguf_file_is_named_as_not_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"GGUF files are not supported yet(.|\n)*llama-server"):
        resolve_model(name)


def test_a_task_of_another_tool_is_pointed_to():
    with pytest.raises(ConfigError, match="one of lm-evaluation-harness is called lm_eval:squad"):
        file_of("squad")
    with pytest.raises(ConfigError, match="did you mean 'gsm8k'") as near:
        file_of("gsm8")
    assert "lm_eval" not in str(near.value)


def test_a_model_in_the_hubs_cache_is_called_by_its_id():
    path = "/c/hub/models--Qwen--Qwen3-0.6B/snapshots/c1899de289a04d12100db370d81485cdf75e47ca"
    assert hub_id(Path(path)) == "Qwen/Qwen3-0.6B" and hub_id(Path("/a/b/mine")) == "mine"
    assert model_from_path(path)["name"] == "Qwen3-0.6B" and model_from_path("./my/model")["name"] == "model"


@pytest.mark.parametrize(
    ("added", "blamed"),
    [
        (Additions(max_cost=-1.0), "--max-cost"),
        (Additions(baseline="nobody"), "--baseline"),
        (Additions(limit=3, first=4), "--limit"),
        (Additions(formats=-1), "--formats"),
    ],
)
def test_an_option_is_blamed_as_an_option(added: Additions, blamed: str):
    with pytest.raises(ConfigError) as caught:
        assemble("quickstart", added)
    assert caught.value.where == blamed


def test_what_the_file_has_wrong_is_blamed_on_the_file(tmp_path: Path):
    (tmp_path / "r.yaml").write_text("run: r\ntasks: [t]\nmodels: [m]\nmax_errors: 7\n")
    with pytest.raises(ConfigError) as caught:
        assemble(str(tmp_path / "r.yaml"), Additions(max_cost=1.0))
    assert caught.value.where.endswith("r.yaml:4")


def test_a_run_in_which_all_failed_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    answers = {"bad": [{"prompt": ".", "error": "http 400: no such thing"}], "good": [{"prompt": ".", "text": "x"}]}
    for names in (["bad"], ["bad", "good"]):
        models = [{"name": n, "backend": "scripted", "script": {"answers": answers[n]}} for n in names]
        run = {"run": "r", "tasks": ["invoice-fields"], "limit": 3, "latency": 0, "models": models}
        Path("run.yaml").write_text(json.dumps(run))
        code, out, err = command(capsys, "run", "run.yaml", "--out", "-".join(names), "--no-seal")
        assert code == 3
        if names == ["bad"]:
            assert out == "" and "error: all of 3 requests failed: http 400: no such thing (3 of them)" in err
        else:
            assert "How well" in out and "3 backend_error" in out


@pytest.mark.parametrize("lacking", ["key", "package"])
def test_a_missing_key_or_package_is_found_before_any_model_runs(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if lacking == "package":
        monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefgh12345678")
        monkeypatch.setitem(sys.modules, "harness.backends.servers.openai", None)
    models = [{"name": "here", "backend": "scripted"}, {"name": "gpt-5-mini", "backend": "openai"}]
    run = {"run": "r", "tasks": ["invoice-fields"], "limit": 3, "latency": 0, "models": models}
    Path("run.yaml").write_text(json.dumps(run))
    code, out, err = command(capsys, "run", "run.yaml", "--out", "out", "--no-seal")
    assert code == 2 and out == "" and not Path("out").exists()
    assert ("OPENAI_API_KEY is not set" if lacking == "key" else "needs the package") in err and "gpt-5-mini" in err
