"""What measuring in this process adds to the model: the single stream of `harness bench` against a bare loop.

    python -m tests.benchmarks.overhead              # the demo model, half a minute on one core

The bare loop calls `model(...)` with its cache on the same token ids, for as many tokens, and takes the likeliest. The
two take turns request by request, so that what else the computer does meets both alike. Wanted: time a token (TPOT) at
most 2 % above the bare loop's, time to the first token (TTFT, with making tokens of the prompt's text) at most 1 ms.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import Any

import torch

from harness.backends.local.backend import TransformersBackend
from harness.config.base import validate
from harness.config.run import RunConfig
from harness.measure.load.drive import run_load
from harness.measure.load.scenario import Scenario
from harness.measure.load.target import InProcess
from harness.runs.bench import make_bench
from harness.values import Request


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="demo-2m")
    parser.add_argument("--task", default="invoice-fields")
    parser.add_argument("--requests", type=int, default=10, help="in each round")
    parser.add_argument("--rounds", type=int, default=8)
    given = parser.parse_args()
    model = {"name": "m", "path": given.model, "threads": 1}
    config = validate(RunConfig, {"run": "overhead", "tasks": [given.task], "models": [model]}, "overhead")
    (work,) = make_bench(config).workloads
    backend = TransformersBackend(config.models[0])
    requests = [work.requests[i] for i in range(given.requests)]
    print(json.dumps(compare(backend, requests, given.rounds), indent=2))


def compare(backend: TransformersBackend, requests: list[Request], rounds: int) -> dict[str, Any]:
    """Returns medians of both over all rounds, and of what ours adds to the bare loop's. The first round warms up."""
    ask = lambda request: next(iter(backend.answer([request])))
    tokens = {request.key: ask(request).output_tokens for request in requests}
    asked = [request for request in requests if tokens[request.key] > 1]
    alone: list[tuple[float, float]] = []

    def judge(request: Request, text: str) -> None:
        """Runs the bare loop after each of our answers, when no other request is out."""
        alone.append(bare(backend, request.prompt.text, tokens[request.key]))

    scenario = Scenario("concurrency", requests=rounds * len(asked), warmup=0)
    timed = run_load(InProcess(ask), asked, scenario, judge=judge).timed
    pairs = [((own.ttft_s, own.tpot_s), other) for own, other in zip(timed, alone)][len(asked) :]
    return {
        **{
            name: {"ttft_ms": 1e3 * median(p[i][0] for p in pairs), "tpot_ms": 1e3 * median(p[i][1] for p in pairs)}
            for i, name in enumerate(("ours", "bare"))
        },
        "tpot_added": median(own[1] / other[1] for own, other in pairs) - 1.0,
        "ttft_added_ms": 1e3 * median(own[0] - other[0] for own, other in pairs),
        "pairs": len(pairs),
    }


@torch.inference_mode()
def bare(backend: TransformersBackend, prompt: str, tokens: int) -> tuple[float, float]:
    """Returns seconds to the first token and a later token (there are two or more), of the shortest loop there is."""
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
    return first - began, (time.perf_counter() - first) / (tokens - 1)


if __name__ == "__main__":
    main()
