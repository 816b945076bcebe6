from __future__ import annotations

import re
import sys

import pytest

from harness.cost.breakeven import Service
from harness.errors import ConfigError
from harness.reports.plots import (
    Priced,
    cost_against_accuracy,
    cost_against_volume,
    distributions,
    latency_against_load,
)
from harness.values import Estimate
from tests.support.loads import load, times

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib", reason="needs the extra report")


def point(rate, mean, p95=None, kind="rate", stopped=None, saturated=False):
    response = times(mean=mean, p50=mean, p95=p95)
    known = {"kind": kind, "level": rate or 0, "stopped": stopped, "saturated": saturated}
    return load(requests_per_s=rate, response_s=response, **known)


POINTS = [point(1, 0.1, 0.12), point(5, 0.12, 0.2), point(9, 0.5), point(None, None)]


def test_latency_over_load_marks_the_knee_and_writes_both_formats(tmp_path):
    svg, png = latency_against_load(POINTS, tmp_path / "load")
    text = svg.read_text()
    assert "knee: 5/s" in text and "response time, s" in text and "arrivals, p95" in text
    closed, _ = latency_against_load([*POINTS, point(6, 0.13, kind="concurrency")], tmp_path / "both")
    assert "so many at a time, mean" in closed.read_text() and "so many at a time" not in text
    over, _ = latency_against_load([*POINTS, point(9.5, 3.0, saturated=True)], tmp_path / "over")
    assert "too much, or ended early" in over.read_text() and "too much" not in text
    assert png.read_bytes()[:4] == b"\x89PNG"


def test_a_figure_is_the_same_each_time(tmp_path):
    first, _ = latency_against_load(POINTS, tmp_path / "a")
    second, _ = latency_against_load(POINTS, tmp_path / "b")
    assert first.read_text() == second.read_text()


def test_a_figure_has_no_colour(tmp_path):
    svg, _ = latency_against_load(POINTS, tmp_path / "load")
    for red, green, blue in re.findall(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})\b", svg.read_text()):
        assert red == green == blue


def test_distributions_say_how_many_values_they_are_of(tmp_path):
    svg, _ = distributions({"model-a": [3.0, 1.0, 2.0], "model-b": [1.0] * 5}, tmp_path / "ecdf")
    assert "model-a (n=3)" in svg.read_text() and "model-b (n=5)" in svg.read_text()


def test_cost_over_volume_shows_machines_apis_and_how_busy_the_first_is(tmp_path):
    volumes = [10**k for k in range(3, 9)]
    svg, _ = cost_against_volume(
        {"h200": Service(usd_per_hour=2.6, requests_per_s=5)}, {"gpt-5": 0.004}, volumes, tmp_path / "volume"
    )
    text = svg.read_text()
    assert all(name in text for name in ("h200", "gpt-5", "busy 30 % to 100 %"))


def test_cost_over_accuracy_leaves_out_what_is_unknown(tmp_path):
    accuracy = Estimate(value=0.8, low=0.7, high=0.9)
    points = [Priced("known, t", accuracy, 0.5), Priced("free?, t", accuracy, None)]
    svg, _ = cost_against_accuracy(points, tmp_path / "accuracy")
    assert "known, t" in svg.read_text() and "free?" not in svg.read_text()


def test_without_matplotlib_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"openweights-harness\[report\]"):
        distributions({}, tmp_path / "x")
