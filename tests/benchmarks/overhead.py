"""What measuring in this process adds to the model: the single stream of `harness bench` against a bare loop.

    python tests/benchmarks/overhead.py              # the demo model, half a minute on one core

The bare loop calls `model(...)` with its cache on the same token ids, for as many tokens, and takes the likeliest. The
two take turns request by request, so that what else the computer does meets both alike. Wanted: time a token (TPOT) at
most 2 % above the bare loop's, time to the first token (TTFT, with making tokens of the prompt's text) at most 1 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from harness.backends.transformers import TransformersBackend
from harness.bench import make_bench
from harness.config import RunConfig, validate
from harness.measure.load import Scenario, Timed, run_load
from harness.measure.target import InProcess
from harness.values import Request


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="demo-2m")
    parser.add_argument("--task", default="invoice-fields")
    parser.add_argument("--requests", type=int, default=10, help="of a round")
    parser.add_argument("--rounds", type=int, default=8)
    given = parser.parse_args()
    model = {"name": "m", "path": given.model, "threads": 1}
    config = validate(RunConfig, {"run": "overhead", "tasks": [given.task], "models": [model]}, "overhead")
    (work,) = make_bench(config).workloads
    backend = TransformersBackend(config.models[0])
    requests = [work.requests[i] for i in range(given.requests)]
    print(json.dumps(compare(backend, requests, given.rounds), indent=2))


def compare(backend: TransformersBackend, requests: list[Request], rounds: int) -> dict[str, Any]:
    """Returns medians over all rounds of both, and what ours adds. The first round warms up."""
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
    busy = {"ours": 0.0, "bare": 0.0}
    for i in range(rounds + 1):
        cpu = time.process_time()
        timed = ours(backend, requests)
        between = time.process_time()
        times = [bare(backend, request.prompt, one.usage.output_tokens) for request, one in zip(requests, timed)]
        if i:
            busy["ours"] += between - cpu
            busy["bare"] += time.process_time() - between
            found["ours"] += [(one.ttft_s, one.tpot_s) for one in timed]
            found["bare"] += times
    medians = {
        name: {"ttft_ms": 1e3 * statistics.median(t for t, _ in each), "tpot_ms": 1e3 * _middle(p for _, p in each)}
        for name, each in found.items()
    }
    return {
        **medians,
        "tpot_added": medians["ours"]["tpot_ms"] / medians["bare"]["tpot_ms"] - 1.0,
        "ttft_added_ms": medians["ours"]["ttft_ms"] - medians["bare"]["ttft_ms"],
        "cpu_added": busy["ours"] / busy["bare"] - 1.0,
        "requests": rounds * len(requests),
    }


def ours(backend: TransformersBackend, requests: list[Request]) -> list[Timed]:
    scenario = Scenario("concurrency", requests=len(requests), warmup=0)
    timed = run_load(InProcess(lambda request: next(iter(backend.generate([request])))), requests, scenario).timed
    return sorted(timed, key=lambda one: one.index)


@torch.inference_mode()
def bare(backend: TransformersBackend, prompt: str, tokens: int) -> tuple[float, float | None]:
    """Returns seconds to the first token and a later token, of the shortest loop there is."""
    model, ids = backend.loaded.model, backend.loaded.tokenizer(prompt, return_tensors="pt").input_ids
    began = time.perf_counter()
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1:].argmax(-1)
    int(token)
    first = time.perf_counter()
    for _ in range(tokens - 1):
        out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
        int(token)
    return first - began, (time.perf_counter() - first) / (tokens - 1) if tokens > 1 else None


def _middle(values: Any) -> float:
    return statistics.median(value for value in values if value is not None)


if __name__ == "__main__":
    main()
