"""Figures for print: latency against load, distributions, cost against volume, cost against accuracy.

Each returns the SVG and the PNG it wrote. Series differ by marker and line, not by colour, so they survive grey print.
Needs matplotlib (extra `report`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cost.breakeven import Service, usd_per_month, utilisation
from harness.errors import ConfigError
from harness.measure.load.summary import LoadSummary
from harness.measure.load.sustained import knee, too_much
from harness.values import Estimate

STYLES = (
    {"color": "black", "linestyle": "-", "marker": "o"},
    {"color": "0.35", "linestyle": "--", "marker": "s"},
    {"color": "0.55", "linestyle": "-.", "marker": "^"},
    {"color": "black", "linestyle": ":", "marker": "D"},
    {"color": "0.35", "linestyle": (0, (5, 1, 1, 1)), "marker": "v"},
    {"color": "0.55", "linestyle": (0, (1, 1)), "marker": "x"},
)
KINDS = {"rate": "arrivals", "concurrency": "so many at a time", "offline": "all at once"}
BANDS = ((0.0, 0.1, "0.80"), (0.1, 0.3, "0.88"), (0.3, 1.0, "0.95"))  # utilisation; shade


def latency_against_load(summaries: Sequence[LoadSummary], path: Path) -> tuple[Path, Path]:
    """Draws response times (mean, p50, p95 where known) over requests a second of loads, knee marked.

    A line joins loads of one kind: a number of requests out is no arrival rate. Loads that ended early, or that were
    more than was served, are hollow.
    """
    figure, axes = _figure("requests answered a second", "response time, s")
    points = sorted((s for s in summaries if s.requests_per_s), key=lambda s: s.level)
    for (kind, label), marker in zip(KINDS.items(), "osD", strict=True):
        for key, line in (("mean", "-"), ("p50", "--"), ("p95", ":")):
            known = [s for s in points if s.kind == kind and getattr(s.response_s, key) is not None]
            if not known:
                continue
            x, y = [s.requests_per_s for s in known], [getattr(s.response_s, key) for s in known]
            axes.plot(x, y, linestyle=line, marker=marker, color="black", markersize=4, label=f"{label}, {key}")
            hollow = [(a, b) for a, b, s in zip(x, y, known, strict=True) if too_much(s)]
            if hollow:
                axes.plot(*zip(*hollow, strict=True), marker, color="black", markerfacecolor="white", markersize=7)
    if any(map(too_much, points)):
        axes.plot([], [], "o", color="black", markerfacecolor="white", markersize=7, label="too much, or ended early")
    at = knee(points)
    if at is not None:
        most = points[at].requests_per_s
        axes.axvline(most, color="0.6", linewidth=0.8)
        axes.annotate(
            f"knee: {most:.3g}/s", (most, 0.97), xycoords=("data", "axes fraction"), va="top", ha="right", rotation=90
        )
    axes.set_yscale("log")
    return _save(figure, axes, path)


def distributions(values: Mapping[str, Sequence[float]], path: Path, label: str = "seconds") -> tuple[Path, Path]:
    """Draws the share of values at most x (ECDF), one line a name."""
    figure, axes = _figure(label, "share of requests")
    for i, (name, found) in enumerate(values.items()):
        ordered = sorted(found)
        share = [(k + 1) / len(ordered) for k in range(len(ordered))]
        style = STYLES[i % len(STYLES)] | {"marker": None}
        axes.step(ordered, share, where="post", label=f"{name} (n={len(ordered)})", **style)
    axes.set_ylim(0, 1.02)
    return _save(figure, axes, path)


def cost_against_volume(
    machines: Mapping[str, Service], apis: Mapping[str, float], volumes: Sequence[float], path: Path
) -> tuple[Path, Path]:
    """Draws USD for a request over requests a month: machines in whole replicas, APIs (USD a request) flat.

    Behind them, the utilisation of the first machine: darker is emptier.
    """
    figure, axes = _figure("requests a month", "USD for a request")
    styles = iter(STYLES * (1 + (len(machines) + len(apis)) // len(STYLES)))
    for name, service in machines.items():
        costs = [usd_per_month(service, volume) / volume for volume in volumes]
        axes.plot(volumes, costs, label=name, **(next(styles) | {"marker": None}))
    for name, each in apis.items():
        axes.plot(volumes, [each] * len(volumes), label=name, **(next(styles) | {"marker": None}))
    if machines:
        first = next(iter(machines.values()))
        for low, high, shade in BANDS:
            inside = [low <= utilisation(first, volume) < high for volume in volumes]
            axes.fill_between(
                volumes,
                0,
                1,
                where=inside,
                transform=axes.get_xaxis_transform(),
                color=shade,
                linewidth=0,
                zorder=0,
                label=f"busy {100 * low:.0f} % to {100 * high:.0f} %",
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    return _save(figure, axes, path)


@dataclass(frozen=True, slots=True)
class Priced:
    """A point of `cost_against_accuracy`: what is drawn under which name."""

    name: str
    accuracy: Estimate
    usd_per_1k_samples: float | None


def cost_against_accuracy(points: Sequence[Priced], path: Path) -> tuple[Path, Path]:
    """Draws USD for 1,000 samples over accuracy. Points of unknown cost are left out."""
    figure, axes = _figure("accuracy", "USD for 1,000 samples")
    known = 0
    for point in points:
        value, low, high = point.accuracy.value, point.accuracy.low, point.accuracy.high
        if value is None or point.usd_per_1k_samples is None:
            continue
        ends = [value - (low or math.nan)], [(high or math.nan) - value]
        style = STYLES[known % len(STYLES)] | {"linestyle": "none"}
        axes.errorbar(value, point.usd_per_1k_samples, xerr=ends, label=point.name, capsize=2, **style)
        known += 1
    axes.set_xlim(0, 1)
    if known:
        axes.set_yscale("log")
    return _save(figure, axes, path)


def _figure(x: str, y: str) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("figures need matplotlib", fix="pip install 'openweights-harness[report]'") from error
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, axes: Any, path: Path) -> tuple[Path, Path]:
    """Writes PATH.svg and PATH.png, the same bytes each time."""
    import matplotlib

    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize="small")
    svg, png = (path.with_name(f"{path.name}.{kind}") for kind in ("svg", "png"))  # a name may hold dots of its own
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "harness"}):
        figure.savefig(svg, metadata={"Date": None})
        figure.savefig(png, dpi=200, metadata={"Software": None})
    return svg, png
