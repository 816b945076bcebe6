"""Each value of a column gets its own row, and the worst of many is called so only beyond chance."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats
from typer.testing import CliRunner

import harness
from harness.analysis.slices import by_slice, difference_p, worst
from harness.cli.app import app
from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import TaskError
from harness.reports.notes import sentence
from harness.stats import wilson
from harness.store.schema import Slice
from harness.tasks.load import load_task
from harness.values import Record, Sample


def sample(i: int, **row: object) -> Sample:
    return Sample(str(i), "t", row, "x")


def record(i: int, value: float) -> Record:
    return Record("m", "t", str(i), 0, "generate", "x", "x", value, None, 1, 1, None, "x", "stop", 0)


def sliced(values: dict[str, list[float]], clusters: list[str] | None = None) -> tuple[Slice, ...]:
    pairs = [(name, value) for name, several in values.items() for value in several]
    samples = {("t", str(i)): sample(i, lang=name) for i, (name, _) in enumerate(pairs)}
    return by_slice([record(i, value) for i, (_, value) in enumerate(pairs)], clusters, samples, ["lang"])


def test_each_slice_has_its_accuracy_interval_and_the_rest():
    low, high = sliced({"de": [1.0] * 30 + [0.0] * 10, "fr": [1.0] * 8 + [0.0] * 32})
    assert (low.value, low.n, low.accuracy.value, low.rest) == ("fr", 40, 0.2, 0.75)
    assert low.accuracy.low == pytest.approx(wilson(8, 40).low)
    fisher = stats.fisher_exact([[8, 32], [30, 10]]).pvalue
    assert (low.p, low.p_holm) == (pytest.approx(fisher), pytest.approx(2 * fisher))
    assert worst([low, high]) is low


def test_empty_values_are_a_slice_of_their_own_and_one_value_has_no_rest():
    samples = {("t", "0"): sample(0, lang=None), ("t", "1"): sample(1)}
    (only,) = by_slice([record(0, 1.0), record(1, 0.0)], None, samples, ["lang"])
    assert (only.value, only.rest, only.p, only.p_holm) == ("(empty)", None, None, None)
    assert worst([only]) is None


@pytest.mark.slow
def test_a_share_of_points_is_compared_as_the_regression_on_the_slice_with_clusters_would():
    sm = pytest.importorskip("statsmodels.api")
    draw = random.Random(1)
    values = np.array([draw.random() for _ in range(60)])
    inside = np.array([i % 3 == 0 for i in range(60)])
    clusters = [i // 4 for i in range(60)]
    fit = sm.OLS(values, sm.add_constant(inside.astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "df_correction": True}, use_t=True
    )
    ours = difference_p(values, inside, clusters)
    scale = 59 / 58  # statsmodels also corrects for the two coefficients
    t = abs(fit.params[1]) / (fit.bse[1] / np.sqrt(scale))
    assert ours == pytest.approx(2 * stats.t.sf(t, 14), rel=1e-6)


def test_without_spread_there_is_no_p_value():
    assert difference_p(np.array([0.5, 0.5, 0.5, 0.5]), np.array([True, False, True, False]), None) is None
    assert difference_p(np.array([0.5, 0.2]), np.array([True, False]), None) is None


@pytest.mark.slow
def test_the_worst_of_many_equal_slices_is_rarely_called_worse():
    draw, called = random.Random(0), 0
    for _ in range(200):
        called += (
            worst(sliced({str(k): [float(draw.random() < 0.5) for _ in range(20)] for k in range(10)})) is not None
        )
    assert called <= 20  # 5 % of 200 is 10; more than 20 has a chance of 0.001


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [{"q": f"{lang} {i}", "a": "yes", "lang": lang} for lang in ("de", "fr") for i in range(30)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"task": "t", "data": {"file": "t.jsonl"}, "kind": "generate", "prompt": "{q}", "answer": "a"}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(task | {"slices": ["lang"]}))
    (tmp_path / "none.yaml").write_text(yaml.safe_dump(task | {"task": "none"}))
    script = [{"prompt": "^fr .*[1-9]$", "text": "no"}, {"text": "yes"}]
    for name in ("t", "none"):
        models = [{"name": "m", "backend": "fake", "script": script}]
        config = {"run": "r", "tasks": [str(tmp_path / f"{name}.yaml")], "models": models}
        harness.run(validate(RunConfig, config, "test"), out=tmp_path / f"out-{name}")
    return tmp_path


def test_slices_stand_in_the_summary_and_in_every_form_of_the_table(run: Path):
    summary = harness.open_run(run / "out-t").summary
    low, high = summary.rows[0].slices
    assert (low.value, low.accuracy.value, high.accuracy.value) == ("fr", 0.1, 1.0)
    said = [sentence(note) for note in summary.notes]
    assert any("worst slice is lang = fr: 10.0 % of 30, the rest 100.0 %" in note for note in said)
    for form, cell in (("text", "10.0 [3.5, 25.6]"), ("markdown", "| fr | m | 30 |"), ("latex", "fr & m & 30 &")):
        printed = CliRunner().invoke(app, ["table", str(run / "out-t"), "--slices", "--format", form])
        assert printed.exit_code == 0 and cell in printed.stdout, printed.output
    lines = CliRunner().invoke(app, ["table", str(run / "out-t"), "--slices", "--format", "csv"]).stdout.splitlines()
    assert lines[0].startswith("model,task,task_version,mode,column,value,n,accuracy_value")
    assert [line.split(",")[5] for line in lines if line] == ["value", "fr", "de"]


def test_a_run_without_slices_says_how_to_get_them(run: Path):
    done = CliRunner().invoke(app, ["table", str(run / "out-none"), "--slices"])
    assert "no task here has slices" in str(done.exception) and "slices: [COLUMN]" in done.exception.fix


def test_a_column_that_is_not_there_or_has_too_many_values_is_refused(run: Path):
    path = run / "t.yaml"
    path.write_text(path.read_text().replace("- lang", "- lnag"))
    with pytest.raises(TaskError, match="slices names column 'lnag'") as caught:
        load_task(TaskUse(task=str(path)))
    assert caught.value.fix == "did you mean 'lang'?"
    rows = [{"q": f"{i}", "a": "yes", "lang": i} for i in range(101)]
    (run / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path.write_text(path.read_text().replace("- lnag", "- lang"))
    with pytest.raises(TaskError, match="column 'lang' has 101 values, and 100 are the most"):
        load_task(TaskUse(task=str(path)))
