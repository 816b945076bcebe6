"""The engine as a model of lm-eval: its evaluator says the same of it as of its own model of the same weights."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the peer is in the test extra")

from harness.backends.lm_eval_model import HarnessLM
from harness.errors import HarnessError
from tests.parity.test_lm_eval_catalogue import TASKS, write

pytestmark = [pytest.mark.shared, pytest.mark.slow]


def evaluated(lm: Any, folder: Path, names: list[str]) -> dict[str, Any]:
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return simple_evaluate(lm, tasks=names, task_manager=manager, bootstrap_iters=0, log_samples=True)


def test_it_equals_the_peers_own_model(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.CRITICAL)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    write(tmp_path)
    path, names = str(shared / "models/stories260K"), ["choose", "gap", "last", "write"]
    ours = evaluated(HarnessLM(pretrained=path, dtype="fp32", device="cpu", threads=1), tmp_path, names)
    theirs = evaluated(HFLM(pretrained=path, device="cpu", dtype="float32", batch_size=1), tmp_path, names)
    for name in names:
        for metric, value in theirs["results"][name].items():
            assert ours["results"][name][metric] == (
                pytest.approx(value, abs=1e-6, rel=1e-5) if isinstance(value, float) else value
            ), (name, metric)
        for mine, their in zip(ours["samples"][name], theirs["samples"][name], strict=True):
            assert mine["arguments"] == their["arguments"]
            if name == "write":
                assert mine["resps"] == their["resps"]
            else:
                logprobs = [[pair[0] for pair in one] for one in their["resps"]]
                assert [[pair[0] for pair in one] for one in mine["resps"]] == [
                    pytest.approx(v, abs=1e-4) for v in logprobs
                ]
                assert [one[0][1] for one in mine["resps"]] == [one[0][1] for one in their["resps"]]
    read = evaluated(HarnessLM(pretrained=path, dtype="fp32", device="cpu", threads=1), tmp_path, ["read"])
    whole = evaluated(
        HFLM(pretrained=path, device="cpu", dtype="float32", batch_size=1, add_bos_token=False), tmp_path, ["read"]
    )
    for metric in ("word_perplexity,none", "bits_per_byte,none"):
        assert read["results"]["read"][metric] == pytest.approx(whole["results"]["read"][metric], rel=1e-5)


def test_its_command_line_knows_the_model(shared: Path, tmp_path: Path):
    write(tmp_path)
    for name in TASKS.keys() - {"write"}:
        (tmp_path / f"{name}.yaml").unlink()
    command = [sys.executable, "-m", "harness.backends.lm_eval_model", "run", "--model", "harness"]
    command += ["--model_args", f"pretrained={shared / 'models/stories260K'},dtype=fp32,threads=1"]
    command += ["--tasks", str(tmp_path / "write.yaml"), "--output_path", str(tmp_path / "out"), "--limit", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    (written,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(written.read_text())
    assert found["config"]["model"] == "harness" and "exact_match,whole" in found["results"]["write"]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtyp": "fp32"}, "did you mean 'dtype'"),
        ({"backend": "openai", "base_url": "http://127.0.0.1:1/v1"}, "servers"),
    ],
)
def test_a_setting_nobody_knows_is_told(shared: Path, settings: dict[str, Any], message: str):
    with pytest.raises(HarnessError, match=message):
        HarnessLM(pretrained=str(shared / "models/stories260K"), **settings)
